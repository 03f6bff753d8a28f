"""What the service does beside answering: logs, shadow, model reloads, feedback."""

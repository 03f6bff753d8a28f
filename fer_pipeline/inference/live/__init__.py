"""A live camera in a window."""

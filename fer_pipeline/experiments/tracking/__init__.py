"""What MLflow runs hold beside parameters and metrics."""

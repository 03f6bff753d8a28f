"""What MLflow holds of a registered version: its model, and its description."""

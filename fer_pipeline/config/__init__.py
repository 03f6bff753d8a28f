"""params.yaml: models, reading, editing."""

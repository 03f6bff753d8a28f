"""params.yaml and profiles.yaml: models, reading, editing."""

"""Training: batches, loop, schedules, checkpoints, artifacts."""

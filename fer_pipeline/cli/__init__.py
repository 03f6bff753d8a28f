"""The `fer` command."""

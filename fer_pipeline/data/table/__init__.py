"""Reading the processed table."""

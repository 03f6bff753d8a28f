"""The DVC stage validate: Great Expectations on the processed table."""

"""The DVC stage preprocess: raw rows to the processed table, in Spark."""

"""The DVC stage fetch: sources to one raw table."""

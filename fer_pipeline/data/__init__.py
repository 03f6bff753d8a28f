"""Raw input, its checks and its tables."""

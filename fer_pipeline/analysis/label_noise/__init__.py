"""Label noise by confident learning."""

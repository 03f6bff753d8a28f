"""Decoding of untrusted pictures and videos in confined processes."""

"""Drawn faces: the embedded default data."""

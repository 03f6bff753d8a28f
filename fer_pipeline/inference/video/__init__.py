"""Emotions over time in video files."""

"""Corrections by people: storage, checks, review."""

"""Robustness against image corruptions."""

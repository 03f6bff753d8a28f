"""Explanations of answers and how faithful they are."""

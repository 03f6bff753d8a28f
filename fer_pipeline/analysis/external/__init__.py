"""Evaluation on other data sets than FER-2013."""

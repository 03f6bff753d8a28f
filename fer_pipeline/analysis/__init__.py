"""Analyses that people ask for beside the pipeline."""

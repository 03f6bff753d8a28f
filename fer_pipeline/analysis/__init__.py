"""Analyses on request, outside the pipeline's stages."""

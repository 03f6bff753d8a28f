"""Batch scoring of image collections in Spark."""

"""Batch scoring of picture collections in Spark."""

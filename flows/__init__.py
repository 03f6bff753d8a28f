"""Prefect flows: order, visibility and retries of the pipeline.

The work itself is in fer_pipeline.
"""

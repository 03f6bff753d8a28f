"""Evaluation of a trained network: calibration, metrics, report."""

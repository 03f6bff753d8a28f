"""Prediction logs, shadow logs and drift, without images."""

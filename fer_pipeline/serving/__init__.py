"""The BentoML service and its packaging."""

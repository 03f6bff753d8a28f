"""HTTP: authentication, limits, schemas, errors, metrics."""

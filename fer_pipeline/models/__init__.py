"""Derived models: exports, ensembles, distilled and adjusted models, the baseline."""

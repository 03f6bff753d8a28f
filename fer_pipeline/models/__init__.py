"""What is made of trained networks: exports, ensembles, distilled and adjusted models."""

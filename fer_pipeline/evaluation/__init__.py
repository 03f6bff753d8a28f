"""What the DVC stage evaluate runs."""

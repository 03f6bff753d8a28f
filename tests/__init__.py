"""Tests of the product; the folders mirror those of the package."""

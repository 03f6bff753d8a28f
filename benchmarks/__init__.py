"""Measure speed and memory: `make bench`.

Ratios are taken within one run on one machine.
"""

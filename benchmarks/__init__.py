"""Speed and memory, measured by one command: `make bench`. Ratios are taken within one run on one machine."""

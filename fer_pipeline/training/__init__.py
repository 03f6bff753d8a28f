"""Networks, their training, measurement and export."""

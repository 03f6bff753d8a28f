"""A person's own neutral face, relative to which other faces are read."""

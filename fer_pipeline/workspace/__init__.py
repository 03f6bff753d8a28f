"""Files, locks, paths and DVC of a workspace."""

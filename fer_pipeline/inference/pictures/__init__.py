"""Pictures from anywhere, and the faces in them as lists and tables."""

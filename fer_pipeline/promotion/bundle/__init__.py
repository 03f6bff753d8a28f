"""The served form of a model: data/bundle, and a BentoML bento that was tested once."""

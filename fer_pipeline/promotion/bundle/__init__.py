"""The served form of a model: data/bundle, and a tested BentoML bento."""

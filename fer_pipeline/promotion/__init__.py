"""Challengers against the champion: gate, decision, bundle, roll-back."""

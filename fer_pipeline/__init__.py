"""Facial emotion recognition on FER-2013, from raw pictures to a served model."""

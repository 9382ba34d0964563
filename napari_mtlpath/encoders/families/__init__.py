"""Encoder families: one file per library that encoders come from."""

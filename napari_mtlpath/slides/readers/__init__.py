"""Readers: one file per way of opening a slide file."""

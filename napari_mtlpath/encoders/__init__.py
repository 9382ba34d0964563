"""Tile encoders: tile -> embedding."""

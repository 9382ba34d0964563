"""Training of tile encoders: tiles, their labels, and what is kept."""

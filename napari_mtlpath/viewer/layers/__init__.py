"""Layers: what the session knows, drawn by napari."""

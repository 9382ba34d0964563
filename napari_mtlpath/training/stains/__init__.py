"""Tiles and bags of stained sections, labelled by stain separation."""

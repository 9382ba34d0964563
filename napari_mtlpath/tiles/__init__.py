"""Tiles: where on a slide to look (geometry only)."""

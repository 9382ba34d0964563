"""Pixel models on a slide: windows that overlap, answers that blend, maps that fit in memory."""

"""Inference: from a slide and a model to predictions and heatmaps."""

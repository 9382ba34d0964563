"""Bags of simulated smears, composed while training."""

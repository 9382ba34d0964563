"""Gradient balancing: how task gradients become one. One method per file; the file name is the name users type."""

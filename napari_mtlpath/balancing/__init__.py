"""Balancing: several task losses or task gradients become one update; one method per file."""

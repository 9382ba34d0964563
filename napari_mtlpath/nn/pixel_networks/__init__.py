"""Networks for tasks of pixels and of whole tiles together, one per file."""

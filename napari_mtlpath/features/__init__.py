"""Embeddings of a slide on disk, keyed by slide x encoder x tile spec."""

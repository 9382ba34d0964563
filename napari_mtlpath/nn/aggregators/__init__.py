"""Aggregators: bag -> task outputs, one file each."""

"""Simulated slides composed of real, labelled cells, with their cell-level truth."""

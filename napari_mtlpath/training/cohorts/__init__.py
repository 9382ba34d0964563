"""Bags of a cohort from tables and feature files, and simulated cohorts in the same form."""

"""Cohort tables: who has which slides and which labels, checked whole before anything starts; splits by patient."""

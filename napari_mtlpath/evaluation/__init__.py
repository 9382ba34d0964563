"""Judging models: figures with intervals, paired comparisons, calibration, prediction sets, faithfulness, reports."""

"""Pre-training of tile encoders from slide labels: similar negatives, contrasted positives (SLAM-AGS)."""

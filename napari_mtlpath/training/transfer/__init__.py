"""Transfer of tile encoders to tasks that they were not made for: features, fine-tuning, sets left out."""

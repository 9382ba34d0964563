"""Loss functions of training: one per file."""

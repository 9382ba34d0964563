"""Training of pixel models: tiles with masks, their losses, and what is kept."""

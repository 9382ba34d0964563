"""Step after step to a finished model: epochs, checkpoints, reports, several processes."""

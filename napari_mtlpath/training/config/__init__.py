"""What a training is told: the tables of a config, checked, and templates to start from."""

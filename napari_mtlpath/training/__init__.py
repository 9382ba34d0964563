"""Training: from labelled tiles or bags to a model folder."""

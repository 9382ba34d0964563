"""Training of an aggregator together with its tile encoder, from tiles."""

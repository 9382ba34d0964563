"""Training of aggregators: bags, where they come from, what is learned from them, and what is kept."""

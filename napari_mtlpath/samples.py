"""Sample slides: what can be opened when the user has no slide at hand, best first."""

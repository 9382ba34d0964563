"""Sets of labelled pictures that become tasks of a pool, one converter per module."""

"""Docks and their sections: one file each."""

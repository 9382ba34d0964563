"""Export: what an analysed slide leaves on disk."""

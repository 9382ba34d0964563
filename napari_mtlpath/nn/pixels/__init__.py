"""What networks that answer pixel by pixel have in common: backbone, cross-task attention, decoders."""

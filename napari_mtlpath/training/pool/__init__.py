"""Pre-training of tile encoders on a pool of many small classification tasks, and transfer to further ones."""

"""Hard parameter sharing: one encoder for all tasks, and a decoder for each."""

from napari_mtlpath.nn.pixels.staged import StagedNetwork


class Hps(StagedNetwork):
    """All decoders read the same features (Caruana, 1997): CTAN with every attention mask at 1."""

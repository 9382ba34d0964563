"""What an embedding belongs to: everything that changes its numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FeatureKey:
    """Names the embeddings of one slide by one encoder.

    Attributes
    ----------
    slide
        The slide's fingerprint.
    encoder
        The encoder's digest (weights, architecture, normalisation).
    tiles
        Digests of the tile spec and of the grid: where the tiles sit and how they are resampled.
    preprocessing
        What else was done to the pixels, such as ``"native"`` colours.

    Examples
    --------
    >>> FeatureKey(slide="ab", encoder="cd", tiles="ef", preprocessing="native").text
    'ab|cd|ef|native'
    """

    slide: str
    encoder: str
    tiles: str
    preprocessing: str

    def __post_init__(self) -> None:
        for name in ("slide", "encoder", "tiles", "preprocessing"):
            value = getattr(self, name)
            if not value or "|" in value:
                raise ValueError(f"The {name} part of a feature key must be a word without '|'; found {value!r}.")

    @property
    def text(self) -> str:
        """The four parts in one line."""
        return "|".join((self.slide, self.encoder, self.tiles, self.preprocessing))

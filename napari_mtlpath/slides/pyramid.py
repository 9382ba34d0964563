"""The levels a slide is seen in: those the file stores, and halvings in between and below them."""

from dataclasses import dataclass

from napari_mtlpath.slides.source import StoredLevel

COARSEST_PX = 1024
"""The coarsest level is at most this long, so that a whole slide can be shown from it."""

TILE_PX = 256
"""Wanted side of the tiles of a synthesised level: with larger ones a view decodes a third more around its edges."""

SCALED_FACTORS = (2, 4, 8)
"""Reductions that libjpeg decodes to directly."""

NEXT_LEVEL = 0.75
"""A halving that reaches this part of the next stored level's downsampling is left out for that level."""


@dataclass(frozen=True, kw_only=True)
class LevelInfo:
    """One level of a slide.

    Attributes
    ----------
    height, width
        Size in pixels of this level.
    downsample
        Level-0 pixels per pixel of this level, as (y, x). Pixel i covers the level-0 pixels from i * downsample to
        (i + 1) * downsample. For stored levels it is the exact ratio of the sizes, fractional where the scanner
        rounded; for synthesised ones the stored level's times a power of two, so that their last row and column may
        cover less than the others.
    stored
        False when the level is synthesised from a finer one.
    """

    height: int
    width: int
    downsample: tuple[float, float]
    stored: bool


@dataclass(frozen=True, kw_only=True)
class Rung:
    """How one level comes about: `factor` times smaller than the stored level `base`, in tiles of a size.

    Attributes
    ----------
    direct
        Whether a tile is put together from native tiles decoded at 1 / factor; else it is the area mean of the level
        before it.
    """

    info: LevelInfo
    base: int
    factor: int
    tile: tuple[int, int]
    direct: bool

    @property
    def rows_columns(self) -> tuple[int, int]:
        """Number of tile rows and columns."""
        return -(-self.info.height // self.tile[0]), -(-self.info.width // self.tile[1])


def plan_pyramid(stored: tuple[StoredLevel, ...]) -> tuple[Rung, ...]:
    """Return all levels, finest first: each stored one, and halvings towards the next one or down to 1024 px.

    Examples
    --------
    >>> level = StoredLevel(height=5000, width=3000, tile_height=256, tile_width=256)
    >>> [(rung.info.height, rung.info.width, rung.info.stored) for rung in plan_pyramid((level,))]
    [(5000, 3000, True), (2500, 1500, False), (1250, 750, False), (625, 375, False)]
    """
    rungs: list[Rung] = []
    for base, level in enumerate(stored):
        tile = level.tile_height, level.tile_width
        info = LevelInfo(height=level.height, width=level.width, downsample=level.downsample, stored=True)
        rungs.append(Rung(info=info, base=base, factor=1, tile=tile, direct=True))
        limit = stored[base + 1].downsample[0] * NEXT_LEVEL if base + 1 < len(stored) else None
        factor = 2
        while _wanted(level, factor, limit):
            rungs.append(_synthesised(level, base, factor))
            factor *= 2
    return tuple(rungs)


def _wanted(level: StoredLevel, factor: int, limit: float | None) -> bool:
    if limit is not None:
        return level.downsample[0] * factor < limit
    return -(-max(level.height, level.width) // (factor // 2)) > COARSEST_PX


def _synthesised(level: StoredLevel, base: int, factor: int) -> Rung:
    info = LevelInfo(
        height=-(-level.height // factor),
        width=-(-level.width // factor),
        downsample=(level.downsample[0] * factor, level.downsample[1] * factor),
        stored=False,
    )
    direct = factor in SCALED_FACTORS and level.tile_height % factor == 0 and level.tile_width % factor == 0
    if not direct:
        return Rung(info=info, base=base, factor=factor, tile=(TILE_PX, TILE_PX), direct=False)
    scaled = level.tile_height // factor, level.tile_width // factor
    tile = scaled[0] * max(1, round(TILE_PX / scaled[0])), scaled[1] * max(1, round(TILE_PX / scaled[1]))
    return Rung(info=info, base=base, factor=factor, tile=tile, direct=True)

"""Which of a file's pages form a consistent pyramid."""

from napari_mtlpath.slides.source import StoredLevel

MAX_ASPECT_CHANGE = 0.02
"""Relative difference of the two axes' downsampling beyond the rounding of one pixel."""


def downsample_of(height: int, width: int, *, base: tuple[int, int]) -> tuple[float, float]:
    """Return level-0 pixels per pixel as (y, x): the exact ratio of heights and of widths.

    Scanners cut the last pixels off when they halve, so a level of a slide of 46000 x 32914 px may come out at 4.0002
    across and 4 down. OpenSlide and tiffslide average the two; here both are kept as they are, so that a level
    covers exactly the same glass as level 0. Pixel i of a level covers i * downsample to (i + 1) * downsample.

    Examples
    --------
    >>> downsample_of(500, 333, base=(1000, 1000))
    (2.0, 3.003003003003003)
    """
    return base[0] / height, base[1] / width


def consistent(levels: list[StoredLevel]) -> tuple[list[int], list[str]]:
    """Return the indices of levels that shrink and keep the aspect, and a sentence for each one left out.

    `levels` may come in any order except that the first is level 0.
    """
    kept, warnings = [0], []
    base = levels[0]
    for index in sorted(range(1, len(levels)), key=lambda i: -levels[i].height * levels[i].width):
        level, finer = levels[index], levels[kept[-1]]
        down = downsample_of(level.height, level.width, base=(base.height, base.width))
        rounding = max(1 / level.height, 1 / level.width)
        if level.height >= finer.height or level.width >= finer.width:
            reason = f"is not smaller than the one before it ({finer.width} x {finer.height})"
        elif abs(down[0] / down[1] - 1) > MAX_ASPECT_CHANGE + rounding:
            reason = f"has another shape than the slide ({base.width} x {base.height})"
        else:
            kept.append(index)
            continue
        warnings.append(f"The pyramid is inconsistent: a level of {level.width} x {level.height} {reason}; left out.")
    return kept, warnings

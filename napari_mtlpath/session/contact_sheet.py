"""A gallery as one picture: tiles with their ranks and values, and above them what they are and what they are not."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from napari_mtlpath.files import replacing
from napari_mtlpath.session.wording import RESEARCH_USE, scope_words

if TYPE_CHECKING:
    from napari_mtlpath.session.gallery import Ranking

PER_ROW = 8
SIDE = 112
GAP = 8
CAPTION = 16
LINE = 18
PAPER, INK, MISSING = (255, 255, 255), (20, 20, 20), (205, 205, 205)


def write_sheet(path: Path, ranking: "Ranking", pictures: Mapping[int, NDArray[np.uint8]]) -> None:
    """Write the sheet as PNG.

    Parameters
    ----------
    ranking
        The order.
    pictures
        Tiles [y, x, 3] by index; a tile without one is a grey field.
    """
    result = ranking.result
    heading = (
        f"{result.slide_name}: {ranking.title}",
        f"{len(ranking.indices):,} tiles of {scope_words(result)}; model {result.model_name}",
        RESEARCH_USE,
    )
    rows = -(-len(ranking.indices) // PER_ROW)
    top = GAP + LINE * len(heading) + GAP
    size = (GAP + PER_ROW * (SIDE + GAP), top + rows * (SIDE + CAPTION + GAP))
    sheet = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(sheet)
    large, small = ImageFont.load_default(13), ImageFont.load_default(11)
    for number, line in enumerate(heading):
        pen.text((GAP, GAP + number * LINE), line, fill=INK, font=large)
    for place, index in enumerate(ranking.indices.tolist()):
        row, column = divmod(place, PER_ROW)
        x, y = GAP + column * (SIDE + GAP), top + row * (SIDE + CAPTION + GAP)
        pixels = pictures.get(index)
        if pixels is None:
            pen.rectangle((x, y, x + SIDE - 1, y + SIDE - 1), fill=MISSING)
        else:
            tile = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            sheet.paste(tile, (x, y))
        pen.text((x, y + SIDE + 1), f"{place + 1}.  {float(ranking.values[place]):.3g}", fill=INK, font=small)
    with replacing(path) as temporary:
        sheet.save(temporary, format="PNG")

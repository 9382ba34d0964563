"""What the tests of the cohort share: slides, a recipe, and one slide done in this process."""

import tempfile
from functools import cache
from pathlib import Path

from synthetic import tissue, write_aperio_like

from napari_mtlpath.cohort.find import find_slides
from napari_mtlpath.cohort.ledger import Ledger
from napari_mtlpath.cohort.plan import look, plan_extraction
from napari_mtlpath.cohort.recipe import Recipe, recipe_for
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.save import save_encoder

TILE_UM = 16.0


def write_encoder(folder: Path) -> Path:
    """Write colour statistics of small tiles as an encoder of their own; return its folder."""
    card = EncoderCard(
        name="small-stats", family="colour_stats", features=42, options={"tile_px": 32}, licence="CC0-1.0"
    )
    save_encoder(folder / "small-stats", card, None)
    return folder / "small-stats"


@cache
def small_recipe(tile_um: float = TILE_UM) -> Recipe:
    """The recipe of an encoder that is quick, loaded once for all tests."""
    return recipe_for(str(write_encoder(Path(tempfile.mkdtemp(prefix="mtlpath-encoder-")))), tile_um=tile_um)


def write_slides(folder: Path, **sides: int) -> Path:
    """Write a slide per name with the side in pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (name, side) in enumerate(sides.items()):
        write_aperio_like(folder / f"{name}.svs", tissue(side, side, seed=number), mpp=0.5)
    return folder


def planned(cohort, out: Path, *, recipe=None, **options):
    """The plan of a cohort, with the ledger closed again."""
    recipe = recipe or small_recipe()
    with Ledger(out) as ledger:
        return plan_extraction(look(find_slides(cohort)), recipe, out, ledger=ledger, **options)

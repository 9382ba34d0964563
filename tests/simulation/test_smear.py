"""Simulated smears: reproducible, independent in their shares, true to their truth."""

from pathlib import Path

import numpy as np
import pytest
from made_cells import SIDE, made_cells

from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.simulation.smear import TURNS, Composer, SmearSpec, draw_cells, turned
from napari_mtlpath.simulation.smear_file import draw_smear, read_truth, recoded, truth_path, write_smear
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tiles.spec import Resampling
from napari_mtlpath.training.smears.smear_bags import SpecSampler


@pytest.fixture(scope="module")
def cells() -> CellSet:
    return made_cells(200).train()


def test_same_spec_gives_the_same_smear(cells: CellSet):
    first, second = (Composer(cells).compose(SmearSpec(rows=9, columns=7, seed=5)) for _ in range(2))
    other = Composer(cells).compose(SmearSpec(rows=9, columns=7, seed=6))
    assert np.array_equal(first.cells, second.cells)
    assert np.array_equal(first.turns, second.turns)
    assert not np.array_equal(first.cells, other.cells)


def test_shares_are_what_was_asked_for(cells: CellSet):
    smear = Composer(cells).compose(
        SmearSpec(rows=20, columns=20, witness_rate=0.03, neutrophil_share=0.35, vacuolated_share=0.1, seed=1)
    )
    assert smear.witness_rate == pytest.approx(0.03)
    assert smear.neutrophil_share == pytest.approx(0.35)
    assert smear.vacuolated_share == pytest.approx(0.1)


def test_positive_smear_holds_at_least_one_witness_and_a_negative_one_none(cells: CellSet):
    composer = Composer(cells)
    assert composer.compose(SmearSpec(rows=5, columns=5, witness_rate=0.001)).is_witness.sum() == 1
    assert composer.compose(SmearSpec(rows=5, columns=5, witness_rate=0.0)).is_witness.sum() == 0


def test_slide_level_quantities_vary_independently(cells: CellSet):
    sampler = SpecSampler(sizes=((10, 10),), neutrophil_share=(0.15, 0.6), vacuolated_share=(0.02, 0.2))
    composer = Composer(cells)
    smears = [
        composer.compose(
            sampler.draw(np.random.default_rng(seed), rates=(0.02, 0.1), positive=seed % 2 == 1, seed=seed)
        )
        for seed in range(600)
    ]
    shares = np.array([(s.witness_rate, s.neutrophil_share, s.vacuolated_share) for s in smears])
    correlation = np.corrcoef(shares.T)
    assert np.abs(correlation[np.triu_indices(3, 1)]).max() < 0.12  # 3 standard errors of 600 independent slides


def test_every_cell_is_used_once_before_any_twice():
    pool = np.arange(7) + 100
    chosen, turns = draw_cells(pool, 7 * TURNS, np.random.default_rng(0))
    assert (np.bincount(chosen - 100) == TURNS).all()
    assert len(set(zip(chosen.tolist(), turns.tolist(), strict=True))) == 7 * TURNS


def test_eight_turns_of_a_square_all_differ():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    assert len({turned(image, turn).tobytes() for turn in range(TURNS)}) == TURNS


def test_truth_agrees_with_the_pixels(cells: CellSet, tmp_path: Path):
    smear = Composer(cells).compose(SmearSpec(rows=6, columns=8, witness_rate=0.1, seed=2))
    path = write_smear(tmp_path / "smear.tiff", cells, smear)
    truth = read_truth(truth_path(path))
    assert truth.spec == smear.spec
    slide = open_slide(path)
    for row, column in np.ndindex(6, 8):
        tile = slide.read_square(row * SIDE, column * SIDE, SIDE, tile_px=SIDE, resampling=Resampling.AREA).array
        laid = turned(cells.images[truth.cells[row, column]], int(truth.turns[row, column]))
        assert np.array_equal(tile, recoded(laid))
        assert (tile.mean((0, 1))[0] < 110) == bool(
            truth.is_witness[row, column] or _lymphocyte(cells, truth, row, column)
        )
    slide.close()


def test_smear_is_a_pyramid_with_its_nominal_resolution(cells: CellSet, tmp_path: Path):
    big = made_cells(200, seed=1)
    smear = Composer(big).compose(SmearSpec(rows=70, columns=66, seed=3))
    slide = open_slide(write_smear(tmp_path / "smear.tiff", big, smear))
    assert slide.resolution.mpp == pytest.approx((0.375, 0.375))
    assert [level.stored for level in slide.levels] == [True, True]
    assert slide.height == 70 * SIDE
    half = slide.read_region(0, 0, 35 * SIDE, 33 * SIDE, level=1).array.astype(float)
    whole = draw_smear(big, smear).reshape(35 * SIDE, 2, 33 * SIDE, 2, 3).mean((1, 3))
    assert np.abs(half - whole).mean() < 6.0  # the codec's loss on noise; a shifted level would be off by far more
    slide.close()


def test_impossible_shares_are_refused():
    with pytest.raises(ValueError, match="sum to at most 1"):
        SmearSpec(witness_rate=0.5, neutrophil_share=0.6)


def _lymphocyte(cells: CellSet, truth: object, row: int, column: int) -> bool:
    return bool(cells.is_class("cell_type", "Lymphocyte")[truth.cells[row, column]])

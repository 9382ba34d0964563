"""Answers pixel by pixel: where they lie, how they blend, what is counted, what memory holds."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pixel_fakes import ColourModel, true_parts
from pixel_slides import DrawnSlide, KnownMpp

from napari_mtlpath.inference.pixels.answering import answer, planes_for, read_window
from napari_mtlpath.inference.pixels.blend import fading
from napari_mtlpath.inference.pixels.lattice import Lattice, core_pixels
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.painting import PaintKind, PixelPainting, bytes_at
from napari_mtlpath.inference.pixels.plan import pixel_plan
from napari_mtlpath.inference.pixels.summing import summed_up
from napari_mtlpath.inference.pixels.window_file import WindowFile
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels


def maps_for(slide, model, folder, **options):
    plan, planes = pixel_plan(slide, model), planes_for(model)
    file = WindowFile.fleeting(folder, key=plan.key, lattice=plan.lattice, planes=planes)
    return plan, PixelMaps(plan.lattice, planes, file=file, **options)


def add(maps, slide, model, indices, *, batch=5):
    for some in itertools.batched(indices, batch) if hasattr(itertools, "batched") else _batches(indices, batch):
        said = answer(model, maps.planes, [read_window(slide, maps.lattice, index) for index in some], size=batch)
        maps.add(some, said.windows, said.numbers)


def _batches(indices, size):
    return [indices[first : first + size] for first in range(0, len(indices), size)]


def mosaic(maps, plane):
    rows, columns = maps.lattice.grid.shape
    tiles = [[maps.blended(row * columns + column)[plane] for column in range(columns)] for row in range(rows)]
    return np.block(tiles)


@given(
    tile_px=st.integers(12, 512).map(lambda half: 2 * half),
    height=st.integers(900, 40_000),
    width=st.integers(900, 40_000),
    mpp=st.floats(0.1, 2.0),
)
@example(tile_px=34, height=900, width=900, mpp=1.0)  # its margin is wider than half its core
@settings(max_examples=60, deadline=None)
def test_windows_of_neighbours_share_the_lattice_and_their_weights_add_up_to_one(tile_px, height, width, mpp):
    spec = TileSpec(tile_um=Microns(min(0.5 * tile_px, 400.0)), tile_px=TilePixels(tile_px))
    lattice = Lattice.for_slide(height=height, width=width, mpp=(mpp, mpp), spec=spec)
    assert lattice.core_px + 2 * lattice.margin_px == tile_px
    assert lattice.core_px % 16 == 0

    weights = np.zeros(4 * lattice.core_px)
    for core in range(-1, 5):  # the windows of one row of cores, put down where they lie
        for pixel, weight in enumerate(fading(lattice.core_px, lattice.margin_px)):
            place = core * lattice.core_px - lattice.margin_px + pixel
            if 0 <= place < len(weights):
                weights[place] += weight
    np.testing.assert_allclose(weights, 1.0, atol=1e-6)

    if lattice.grid.columns > 1:
        (_, left, side), (_, right, _) = lattice.window(0), lattice.window(1)
        assert right - left == lattice.grid.side
        assert side / lattice.window_px == pytest.approx(lattice.grid.side / lattice.core_px)


@given(
    height=st.integers(60, 700),
    width=st.integers(60, 700),
    mpp=st.floats(0.2, 0.9),
    tile_px=st.sampled_from([32, 40, 50]),
)
@settings(max_examples=80, deadline=None)
def test_every_pixel_of_a_slide_that_is_all_tissue_is_analysed(height, width, mpp, tile_px):
    """The last cores reach beyond the edge, so that none of the slide is left out; and none lies wholly beyond it."""
    slide, model = DrawnSlide(height=height, width=width, resolution=KnownMpp((mpp, mpp))), ColourModel(tile_px=tile_px)
    if 2 * min(height, width) <= lattice_side(tile_px, mpp):
        with pytest.raises(ValueError, match="less than half a tile"):
            pixel_plan(slide, model)
        return
    plan = pixel_plan(slide, model)
    lattice = plan.lattice
    covered = np.zeros((height, width), bool)
    pixels = 0
    for index in plan.indices.tolist():
        y, x = lattice.grid.corner(index)
        covered[y : y + lattice.grid.side, x : x + lattice.grid.side] = True
        inside = lattice.inside(index)
        assert min(inside) > 0
        pixels += inside[0] * inside[1]
    # A pixel of the lattice counts when its centre is on the slide: at most half of one is left out, or added.
    half = math.ceil(lattice.step / 2)
    assert covered[: height - half, : width - half].all()
    assert pixels == math.prod(lattice.on_slide)
    for length, counted in zip((height, width), lattice.on_slide, strict=True):
        assert abs(counted * lattice.step - length) <= lattice.step / 2 + 1e-6


def lattice_side(tile_px, mpp):
    """Return the side of a core in level-0 pixels, for a model of half a micron per pixel."""
    return round(core_pixels(tile_px) / 2 / mpp)


def test_tissue_at_the_right_and_lower_edge_is_found_and_answered(tmp_path):
    slide, model = DrawnSlide(height=300, width=410), ColourModel()  # cores of 32 pixels: 9.4 x 12.8 of them
    plan, maps = maps_for(slide, model, tmp_path)
    assert maps.lattice.grid.shape == (10, 13)
    add(maps, slide, model, plan.indices.tolist())
    painting = PixelPainting(maps=maps, version=1)
    assert painting.words_at("darkness", PaintKind.PREDICTION, 299, 409) != "not analysed"
    assert bytes_at(maps, 300, 409) is None
    assert bytes_at(maps, 299, 410) is None
    maps.close()


def test_cores_are_blended_once_all_around_them_is_known_or_when_asked(tmp_path):
    slide, model = DrawnSlide(), ColourModel(frayed=2)
    _plan, maps = maps_for(slide, model, tmp_path)
    columns = maps.lattice.grid.columns
    block = [row * columns + column for row in (3, 4, 5) for column in (3, 4, 5)]
    middle = block[4]
    add(maps, slide, model, block, batch=2)
    assert maps.unfinished(block) == 8
    assert maps.unfinished([middle]) == 0
    rough, version = maps.core(block[0], 0).copy(), maps.version
    maps.finish([block[0], middle])
    assert maps.unfinished(block) == 7
    assert maps.version > version
    assert (maps.core(block[0], 0) != rough).any()
    maps.finish()
    assert maps.unfinished(block) == 0
    _plan, other = maps_for(slide, model, tmp_path)
    add(other, slide, model, block[::-1], batch=9)
    for index in block:  # what is asked for by name is never rough
        np.testing.assert_array_equal(maps.core(index, 0), other.blended(index))
    maps.close()
    other.close()


@pytest.mark.parametrize("tile_px", [33, 16])
def test_a_tile_that_cannot_be_halved_is_refused_in_one_sentence(tile_px):
    with pytest.raises(ValueError, match=f"even number of pixels, at least 18; found {tile_px}"):
        core_pixels(tile_px)


@pytest.mark.parametrize("mpp", [0.5, 0.25, 0.37])
def test_every_pixel_has_the_class_of_what_is_drawn_there(tmp_path, mpp):
    slide, model = DrawnSlide(height=300, width=410, resolution=KnownMpp((mpp, mpp))), ColourModel()
    plan, maps = maps_for(slide, model, tmp_path)
    add(maps, slide, model, plan.indices.tolist())

    rows, columns = maps.lattice.shape
    centres = [(np.arange(count) + 0.5) * maps.lattice.step - 0.5 for count in (rows, columns)]
    truth = true_parts(np.round(centres[0])[:, None], np.round(centres[1])[None])
    found = mosaic(maps, maps.planes.labels("cell_parts"))
    inside = (centres[0][:, None] <= slide.height - 1) & (centres[1][None] <= slide.width - 1)
    assert (found == truth)[inside].mean() > 0.999  # rounding decides where a centre lies between two pixels

    painting = PixelPainting(maps=maps, version=1)
    y, x = 31 + 64, 31 + 128  # the middle of a nucleus
    assert painting.words_at("cell_parts", PaintKind.CLASSES, y, x).startswith("nucleus, probability 1.0")
    assert painting.words_at("darkness", PaintKind.PREDICTION, y, x) == "0.843 share"
    assert painting.words_at("darkness", PaintKind.PREDICTION, -5, x) == "not analysed"
    maps.close()


def test_seams_vanish_where_a_network_frays_at_the_rim_of_its_tiles(tmp_path):
    """A network that sees nothing beyond its tile answers wrongly at the rim; blending takes those answers out."""
    slide = DrawnSlide(height=400, width=400, paint=lambda y, x: np.full((*np.broadcast(y, x).shape, 3), 120))
    frayed = ColourModel(frayed=2)
    plan, maps = maps_for(slide, frayed, tmp_path)
    add(maps, slide, frayed, plan.indices.tolist())
    lattice, core = maps.lattice, maps.lattice.core_px
    values = mosaic(maps, maps.planes.first("darkness"))[core:-core, core:-core].astype(float)
    truth = 255 * (1 - 120 / 255)

    alone = answer(frayed, maps.planes, [read_window(slide, lattice, 24)] * 2, size=2).windows[0]
    rim = np.abs(alone[maps.planes.first("darkness")].astype(float) - truth).max()
    error = np.abs(values - truth)
    jump = max(np.abs(np.diff(values, axis=axis)).max() for axis in (0, 1))
    assert rim > 60  # side by side, tiles would show this seam
    assert error.max() < 0.12 * rim
    assert jump < 0.06 * rim
    maps.close()


def test_a_window_alone_is_its_own_answer_and_its_neighbour_changes_the_ground_they_share(tmp_path):
    slide, model = DrawnSlide(), ColourModel(frayed=2)
    _plan, maps = maps_for(slide, model, tmp_path)
    add(maps, slide, model, [30])
    before = maps.core(30, 0).copy()
    margin = maps.lattice.margin_px
    window = answer(model, maps.planes, [read_window(slide, maps.lattice, 30)] * 2, size=2).windows[0]
    np.testing.assert_array_equal(before[: maps.planes.count], window[:, margin:-margin, margin:-margin])

    add(maps, slide, model, [31])
    maps.finish()
    after = maps.core(30, 0)
    np.testing.assert_array_equal(after[..., :-margin], before[..., :-margin])
    assert (after[..., -margin:] != before[..., -margin:]).any()
    maps.close()


def test_sums_do_not_depend_on_the_order_nor_on_what_memory_holds(tmp_path):
    slide, model = DrawnSlide(), ColourModel(frayed=1)
    results, held = [], []
    for seed, budget in ((None, 2**28), (1, 2**28), (2, 600_000)):
        plan, maps = maps_for(slide, model, tmp_path, budget=budget)
        order = (
            plan.indices.tolist() if seed is None else np.random.default_rng(seed).permutation(plan.indices).tolist()
        )
        add(maps, slide, model, order, batch=3 if seed else 7)
        held.append(maps.nbytes)
        results.append(summed_up(model, maps, plan.total, slide=slide))
        maps.close()
    assert held[2] <= 600_000 < held[0]
    first = results[0]
    assert first.complete
    assert len(first.tasks) == 4
    for other in results[1:]:
        for answered, again in zip(first.tasks, other.tasks, strict=True):
            assert (answered.value, answered.class_values, answered.areas_mm2) == (
                again.value,
                again.class_values,
                again.areas_mm2,
            )


def test_areas_are_those_of_what_is_drawn_and_add_up_to_the_analysed_part(tmp_path):
    slide, model = DrawnSlide(height=320, width=320), ColourModel()
    plan, maps = maps_for(slide, model, tmp_path)
    add(maps, slide, model, plan.indices.tolist())
    parts = summed_up(model, maps, plan.total, slide=slide).of("cell_parts")
    whole = 320 * 320 * 0.25 / 1e6
    nuclei = np.pi * 11**2 / 64**2
    assert sum(parts.areas_mm2) == pytest.approx(whole) == pytest.approx(maps.tally.area_mm2)
    assert sum(parts.class_values) == pytest.approx(1.0)
    assert parts.class_values[2] == pytest.approx(nuclei, rel=0.03)
    assert parts.areas_mm2[2] == pytest.approx(nuclei * whole, rel=0.03)
    maps.close()


def test_what_memory_let_go_of_comes_back_when_it_is_wanted(tmp_path):
    slide, model = DrawnSlide(), ColourModel()
    plan, maps = maps_for(slide, model, tmp_path, budget=600_000)
    add(maps, slide, model, plan.indices.tolist())
    gone = [index for index in plan.indices.tolist() if maps.core(index, 0) is None]
    assert gone
    assert maps.nbytes <= 600_000
    import threading

    back = threading.Event()
    maps.on_restored = back.set
    maps.want(gone[:3])
    assert back.wait(30)
    for index in gone[:3]:
        np.testing.assert_array_equal(maps.core(index, 0), maps.blended(index))
    maps.close()
    assert maps.core(gone[0], 0) is None
    assert maps.blended(gone[0]) is None


def test_a_file_of_windows_survives_a_torn_end_and_refuses_another_key(tmp_path):
    slide, model = DrawnSlide(), ColourModel()
    plan, planes = pixel_plan(slide, model), planes_for(model)
    facts = {"lattice": plan.lattice, "planes": planes}
    file = WindowFile.kept(tmp_path / "w", key="a", **facts)
    window = np.arange(planes.count * 1600, dtype=np.int64).astype(np.uint8).reshape(planes.count, 40, 40)
    for index in (3, 5):
        file.put([index], window[None] + np.uint8(index), np.array([[index, 0.5]], np.float32))
    file.close()
    with (tmp_path / "w").open("r+b") as torn:
        torn.truncate((tmp_path / "w").stat().st_size - 7)

    again = WindowFile.kept(tmp_path / "w", key="a", **facts)
    assert again.indices().tolist() == [3]
    np.testing.assert_array_equal(again.window(3), window + np.uint8(3))
    assert again.numbers(3).tolist() == [3.0, 0.5]
    assert again.window(5) is None
    again.close()
    other = WindowFile.kept(tmp_path / "w", key="b", **facts)
    assert other.indices().tolist() == []
    other.close(delete=True)
    assert not (tmp_path / "w").exists()

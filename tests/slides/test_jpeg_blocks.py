"""Neighbouring JPEG tiles decoded in one call: the same bits as one by one, also where some of them are damaged."""

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import simplejpeg
import tifffile
from synthetic import tissue

from napari_mtlpath.slides import tiff_page
from napari_mtlpath.slides.jpeg import stream_prefix
from napari_mtlpath.slides.jpeg_block import BlockHeader
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.slide import Slide
from napari_mtlpath.slides.source import SlideSource

TILE, SIDE = 64, 512
PER_ROW = SIDE // TILE


def encoded(pixels: np.ndarray, subsampling: str) -> bytes:
    pixels = np.ascontiguousarray(pixels)
    return bytes(simplejpeg.encode_jpeg(pixels, quality=85, colorspace="RGB", colorsubsampling=subsampling))


def tiles_of(array: np.ndarray) -> list[np.ndarray]:
    corners = [(y, x) for y in range(0, SIDE, TILE) for x in range(0, SIDE, TILE)]
    return [np.ascontiguousarray(array[y : y + TILE, x : x + TILE]) for y, x in corners]


def written(path: Path, tiles: list[bytes]) -> Path:
    tifffile.imwrite(
        path, iter(tiles), shape=(SIDE, SIDE, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="ycbcr",
        subsampling=(2, 2), compression="jpeg", metadata=None,
    )  # fmt: skip
    return path


@pytest.fixture
def blocks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each attempt to decode tiles together has succeeded, in the order of the attempts."""
    found: list[bool] = []
    right = tiff_page.decode_block

    def watched(stream: bytes, scratch: np.ndarray, *, denominator: int) -> np.ndarray | None:
        pixels = right(stream, scratch, denominator=denominator)
        found.append(pixels is not None)
        return pixels

    monkeypatch.setattr(tiff_page, "decode_block", watched)
    return found


def one_by_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> Slide:
    slide = open_slide(path)
    monkeypatch.setattr(type(slide._source), "read_block", SlideSource.read_block)
    return slide


def squares(slide: Slide) -> list[np.ndarray]:
    """Squares of one block, of several, of one column, at each reduction; and the levels made of them."""
    read = [
        slide.read_square(y, x, side, tile_px=side // factor, resampling=Resampling.SCALED).array
        for factor in (2, 4, 8)
        for y, x, side in ((0, 0, 512), (64, 128, 256), (128, 64, 384), (448, 0, 64))
    ]
    info = slide.levels[-1]
    return [*read, slide.read_region(0, 0, info.height, info.width, level=len(slide.levels) - 1).array]


@pytest.mark.parametrize(
    ("subsampling", "together"), [("444", True), ("422", True), ("420", True), ("440", False), ("411", False)]
)
def test_tiles_decoded_together_are_the_same_bits(
    tmp_path: Path, blocks: list[bool], monkeypatch: pytest.MonkeyPatch, subsampling: str, together: bool
) -> None:
    path = written(tmp_path / "a.tif", [encoded(tile, subsampling) for tile in tiles_of(tissue(SIDE, SIDE, seed=2))])
    found = squares(open_slide(path))
    assert (len(blocks) > 0, all(blocks)) == (together, True)
    for ours, right in zip(found, squares(one_by_one(path, monkeypatch)), strict=True):
        np.testing.assert_array_equal(ours, right)


def test_a_real_slide_with_tables_of_its_own_is_decoded_together(
    cmu_svs: Path, blocks: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    corners = ((0, 0), (960, 480), (1680, 960), (2400, 1200))

    def read(slide: Slide) -> list[np.ndarray]:
        return [slide.read_square(y, x, 960, tile_px=240, resampling=Resampling.SCALED).array for y, x in corners]

    found = read(open_slide(cmu_svs))
    np.testing.assert_array_equal(found, read(one_by_one(cmu_svs, monkeypatch)))
    assert blocks == [True] * 3  # the last square hangs over the slide's edge


@pytest.mark.parametrize("damage", ["cut", "empty scan", "other tables", "other size", "restarts", "no JPEG"])
def test_a_tile_unlike_its_neighbours_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    pixels = tiles_of(tissue(SIDE, SIDE, seed=3))
    tiles = [encoded(tile, "420") for tile in pixels]
    odd = PER_ROW + 1
    start = tiles[odd].find(b"\xff\xda") + 14
    tiles[odd] = {
        "cut": tiles[odd][: (start + len(tiles[odd])) // 2],
        "empty scan": tiles[odd][:start] + b"\xff\xd9",
        "other tables": bytes(simplejpeg.encode_jpeg(pixels[odd], quality=40, colorsubsampling="420")),
        "other size": encoded(np.ascontiguousarray(pixels[odd][:32]), "420"),
        "restarts": imagecodecs.jpeg8_encode(pixels[odd], level=85, subsampling="420", optimize=True),
        "no JPEG": b"no JPEG at all",
    }[damage]
    path = written(tmp_path / "a.tif", tiles)
    slide = open_slide(path)
    ours = slide.read_square(0, 0, 256, tile_px=64, resampling=Resampling.SCALED)
    right = one_by_one(path, monkeypatch).read_square(0, 0, 256, tile_px=64, resampling=Resampling.SCALED)
    np.testing.assert_array_equal(ours.array, right.array)
    assert ours.unreadable == right.unreadable == slide.unreadable_tiles


def test_a_tile_that_comes_back_is_no_longer_unreadable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = open_slide(written(tmp_path / "a.tif", [encoded(t, "420") for t in tiles_of(tissue(SIDE, SIDE))]))
    with monkeypatch.context() as broken:
        broken.setattr(type(slide._source._file), "read_at", lambda *_: b"")
        assert slide.read_square(0, 0, 256, tile_px=64, resampling=Resampling.SCALED).unreadable == 16
    assert slide.read_square(0, 0, 256, tile_px=64, resampling=Resampling.SCALED).complete
    assert slide.unreadable_tiles == 0


def test_streams_with_restarts_or_without_a_scan_are_not_joined() -> None:
    plain = encoded(tissue(TILE, TILE), "420")
    scan = plain.find(b"\xff\xda")
    prefix = stream_prefix(None, ycbcr=True)
    restarting = plain[:scan] + b"\xff\xdd\x00\x04\x00\x04" + plain[scan:]
    header = BlockHeader.of(restarting, prefix, height=TILE, width=TILE)
    assert header is not None
    assert header.joined([restarting, restarting], height=TILE) is None
    assert BlockHeader.of(plain[:scan], prefix, height=TILE, width=TILE) is None
    wrong = BlockHeader.of(plain, prefix, height=TILE, width=2 * TILE)
    assert wrong is not None
    assert wrong.units == 0

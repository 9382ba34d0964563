"""The small parts of the slides room: cache, hatching, positioned reads, readers by name, privacy."""

import importlib.util
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from synthetic import tissue, write_aperio_like

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.hatch import hatched
from napari_mtlpath.slides.jpeg import complete_stream, decode_jpeg, stream_prefix
from napari_mtlpath.slides.levels import consistent
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.pyramid import COARSEST_PX, plan_pyramid
from napari_mtlpath.slides.resample import resize
from napari_mtlpath.slides.shared_file import PatchedStream, SharedFile
from napari_mtlpath.slides.source import SlideError, StoredLevel


def tile(value: int, size: int = 100) -> np.ndarray:
    return np.full(size, value, np.uint8)


def test_the_cache_forgets_the_least_recently_used() -> None:
    cache = TileCache(max_bytes=400)
    for number in range(4):
        cache.put(("s", number), tile(number))
    assert cache.get(("s", 0)) is not None
    cache.put(("s", 4), tile(4))
    assert cache.get(("s", 1)) is None
    assert cache.get(("s", 0)) is not None
    assert cache.nbytes == 400


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(1, 300)), max_size=60))
def test_the_cache_never_exceeds_its_bytes_and_counts_them_right(puts: list[tuple[int, int]]) -> None:
    cache = TileCache(max_bytes=1000)
    for key, size in puts:
        cache.put(("s", key), tile(1, size))
        kept = [cache.get(("s", number)) for number in range(13)]
        assert cache.nbytes == sum(array.nbytes for array in kept if array is not None) <= 1000


def test_the_cache_drops_one_slide_and_keeps_the_other() -> None:
    cache = TileCache()
    cache.put(("a", 1), tile(1))
    cache.put(("b", 1), tile(2))
    cache.drop("a")
    assert cache.get(("a", 1)) is None
    assert cache.get(("b", 1)) is not None
    assert cache.nbytes == 100


def test_a_view_does_not_keep_its_whole_array_alive() -> None:
    cache = TileCache()
    cache.put(("a", 1), np.zeros((1000, 1000), np.uint8)[:10, :10])
    kept = cache.get(("a", 1))
    assert kept is not None
    assert kept.base is None
    assert not kept.flags.writeable


def test_the_cache_is_safe_for_many_threads() -> None:
    cache = TileCache(max_bytes=5000)

    def work(seed: int) -> None:
        random = np.random.default_rng(seed)
        for key in random.integers(0, 80, 500):
            if cache.get(("s", int(key))) is None:
                cache.put(("s", int(key)), tile(int(key)))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    assert cache.nbytes == 100 * len(cache) <= 5000
    assert cache.hits + cache.misses == 3000


def test_hatching_has_two_colours_and_runs_diagonally() -> None:
    pattern = hatched(64, 64)
    assert len(np.unique(pattern.reshape(-1, 3), axis=0)) == 2
    np.testing.assert_array_equal(pattern[1:, :-1], pattern[:-1, 1:])


@given(st.integers(0, 300), st.integers(0, 300), st.integers(0, 60))
def test_a_patched_stream_replaces_bytes_wherever_reading_starts(start: int, count: int, at: int) -> None:
    file = SharedFile(Path(__file__))
    data = bytearray(Path(__file__).read_bytes())
    data[at : at + 7] = b"patched"
    stream = PatchedStream(file, {at: b"patched"})
    stream.seek(start)
    assert stream.read(count) == bytes(data[start : start + count])
    assert stream.tell() == start + count


def test_reading_a_closed_file_is_an_os_error() -> None:
    file = SharedFile(Path(__file__))
    file.close()
    file.close()
    with pytest.raises(OSError, match="closed"):
        file.read_at(0, 1)


def test_positioned_reads_work_without_pread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("os.pread", raising=False)
    file = SharedFile(Path(__file__))
    data = Path(__file__).read_bytes()
    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(lambda start: file.read_at(start, 10), range(0, 500, 10)))
    assert b"".join(parts) == data[:500]


@given(
    height=st.integers(1, 200_000),
    width=st.integers(1, 200_000),
    tile_px=st.sampled_from([240, 256, 250, 512, 1000]),
    steps=st.lists(st.sampled_from([2, 3, 4]), max_size=3),
)
def test_every_pyramid_shrinks_by_at_most_four_and_ends_small(
    height: int, width: int, tile_px: int, steps: list[int]
) -> None:
    stored, factor = [], 1
    for step in [1, *steps]:
        factor *= step
        if height // factor < 1 or width // factor < 1:
            break
        high, wide = height // factor, width // factor
        down = height / high, width / wide
        stored.append(StoredLevel(height=high, width=wide, tile_height=tile_px, tile_width=tile_px, downsample=down))
    rungs = plan_pyramid(tuple(stored))
    areas = [rung.info.height * rung.info.width for rung in rungs]
    assert areas == sorted(areas, reverse=True)
    assert max(rungs[-1].info.height, rungs[-1].info.width) <= max(COARSEST_PX, 1)
    assert [rung.info for rung in rungs if rung.info.stored] == [rung.info for rung in rungs if rung.factor == 1]
    assert len([rung for rung in rungs if rung.info.stored]) == len(stored)


def test_levels_that_grow_or_change_shape_are_dropped() -> None:
    sizes = [(1000, 1000), (1200, 1200), (500, 500), (250, 400), (250, 250)]
    levels = [StoredLevel(height=h, width=w, tile_height=256, tile_width=256) for h, w in sizes]
    kept, warnings = consistent(levels)
    assert kept == [0, 2, 4]
    assert len(warnings) == 2


def test_growing_and_shrinking_keep_a_constant_colour() -> None:
    plain = np.full((50, 50, 3), 77, np.uint8)
    for size in (7, 49, 50, 51, 120):
        assert (resize(plain, box=(0.3, 0.4, 49.6, 49.7), height=size, width=size) == 77).all()


def test_a_wrong_reader_name_suggests_the_right_one(cmu_svs: Path) -> None:
    with pytest.raises(SlideError, match="Did you mean 'tiffslide'"):
        open_slide(cmu_svs, reader="tifslide")


@pytest.mark.parametrize("name", ["a.dcm", "a.mrxs", "a.vms"])
def test_without_openslide_its_formats_name_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    path.write_bytes(bytes(128) + b"DICM" + bytes(100))
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda module, *rest: None if module == "openslide" else find(module, *rest)
    )
    with pytest.raises(SlideError, match=r"pip install 'napari-mtlpath\[openslide\]'"):
        open_slide(path)


def test_a_real_dicom_slide_opens_through_openslide(real_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="DICOM needs openslide-python")
    import zipfile

    with zipfile.ZipFile(real_data / "wsi" / "CMU-1-Small-Region_dicom.zip") as archive:
        archive.extractall(tmp_path)
    slide = open_slide(next(tmp_path.rglob("*.dcm")))
    assert (slide.height, slide.width, slide.facts.format) == (2967, 2220, "dicom")
    assert slide.resolution.mean == pytest.approx(0.499)
    assert slide.read_region(100, 100, 300, 300).complete


def test_a_dicom_file_that_is_no_slide_says_so(tmp_path: Path) -> None:
    pytest.importorskip("openslide", reason="without it the message is another one")
    path = tmp_path / "ct.dcm"
    path.write_bytes(bytes(128) + b"DICM" + bytes(100))
    with pytest.raises(SlideError, match="does not know it as a whole-slide image"):
        open_slide(path)


def test_nothing_known_about_a_slide_names_a_person_or_a_day(tmp_path: Path) -> None:
    path = write_aperio_like(tmp_path / "a.svs", tissue(200, 200), levels=(1,), label=True)
    assert b"PHI-CANARY" in path.read_bytes()
    slide = open_slide(path)
    assert "PHI-CANARY" not in repr(slide.facts)
    assert "01/02/03" not in repr(slide.facts)
    assert set(slide.facts.associated) == {"thumbnail", "label", "macro"}


def test_associated_images_are_decoded_only_on_demand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_aperio_like(tmp_path / "a.svs", tissue(200, 200), levels=(1,), label=True)
    asked: list[str] = []
    from napari_mtlpath.slides.readers import tiffslide as module

    whole = module._whole
    monkeypatch.setattr(module, "_whole", lambda page: asked.append("decoded") or whole(page))
    slide = open_slide(path)
    slide.thumbnail()
    assert asked == []
    assert (slide.associated("label") == 200).all()
    assert asked == ["decoded"]
    with pytest.raises(KeyError, match="there are: thumbnail, label, macro"):
        slide.associated("barcode")


def test_threads_that_open_the_same_file_do_not_disturb_each_other(cmu_svs: Path) -> None:
    start = threading.Barrier(4)

    def open_and_read(_: int) -> float:
        start.wait()
        return float(open_slide(cmu_svs).read_region(500, 500, 200, 200).array.mean())

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(open_and_read, range(4)))) == 1


def test_a_jpeg_that_is_complete_is_decoded_without_a_copy() -> None:
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(tissue(64, 64)), quality=90, colorsubsampling="420")
    assert complete_stream(stream_prefix(None, ycbcr=True), data) is data
    assert complete_stream(stream_prefix(None, ycbcr=None), data) == data


def test_the_files_word_on_colours_outvotes_a_marker_in_the_tile() -> None:
    pixels = np.ascontiguousarray(tissue(64, 64))
    data = simplejpeg.encode_jpeg(pixels, quality=95, colorsubsampling="444")
    stream = complete_stream(stream_prefix(None, ycbcr=False), data)
    shown = decode_jpeg(stream, height=64, width=64)
    as_ycbcr = decode_jpeg(data, height=64, width=64)
    assert np.abs(as_ycbcr.astype(int) - pixels).mean() < 3
    assert np.abs(shown.astype(int) - pixels).mean() > 20  # the stored channels as they are

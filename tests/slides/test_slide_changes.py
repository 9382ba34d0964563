"""S5, S15 and S16: files that change, vanish or stop answering while they are open."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from synthetic import tissue, write_aperio_like, write_pyramid

from napari_mtlpath.slides.fingerprint import fingerprint
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.shared_file import SharedFile
from napari_mtlpath.slides.slide import RETRY_SECONDS


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return write_aperio_like(tmp_path / "a.svs", tissue(300, 300), levels=(1,), tile=128)


def rewrite_in_place(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")


def replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def rewrite_and_restore_the_time(path: Path) -> None:
    before = path.stat()
    rewrite_in_place(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("act", "words"),
    [
        (Path.unlink, "no longer be found"),
        (append, "now has"),
        (lambda path: path.write_bytes(b""), "now has 0"),
        (lambda path: os.truncate(path, 100), "now has 100"),
        (rewrite_in_place, "was written to"),
        (rewrite_and_restore_the_time, "was written to"),
        (replace, "was replaced"),
    ],
)
def test_s15_a_change_on_disk_is_noticed(path: Path, act: Callable[[Path], object], words: str) -> None:
    slide = open_slide(path)
    assert slide.changed_on_disk() is None
    act(path)
    assert words in (slide.changed_on_disk() or "")
    assert slide.read_region(0, 0, 300, 300).array.shape == (300, 300, 3)


def test_s15_a_replaced_file_keeps_showing_the_old_pixels(path: Path) -> None:
    slide = open_slide(path)
    before = slide.read_region(0, 0, 128, 128).array
    slide.cache.drop(slide.fingerprint)
    write_aperio_like(path.with_name("new.svs"), 255 - tissue(300, 300), levels=(1,), tile=128).replace(path)
    np.testing.assert_array_equal(slide.read_region(0, 0, 128, 128).array, before)


@pytest.mark.parametrize("answer", ["error", "short", "nothing"])
def test_s16_storage_that_fails_at_any_read_hatches_that_tile_only(
    path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    sound = SharedFile.read_at
    for failing in range(9):
        slide = open_slide(path)
        calls = iter(range(1000))

        def read_at(self: SharedFile, offset: int, count: int, calls=calls, failing=failing) -> bytes:
            if next(calls) != failing:
                return sound(self, offset, count)
            if answer == "error":
                raise OSError(5, "Input/output error")
            return sound(self, offset, count)[: count // 2 if answer == "short" else 0]

        with monkeypatch.context() as patch:
            patch.setattr(SharedFile, "read_at", read_at)
            assert slide.read_region(0, 0, 300, 300).unreadable == 1
        assert slide.unreadable_tiles == 1


def test_s16_a_tile_is_tried_again_when_storage_comes_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slide = open_slide(path)

    def fail(self: SharedFile, offset: int, count: int) -> bytes:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(SharedFile, "read_at", fail)
        assert not slide.load_tile(0, 0, 0).complete
    assert not slide.load_tile(0, 0, 0).complete  # not at once: a dead drive would be asked again and again
    assert slide.read_square(0, 0, 128, tile_px=128, resampling=Resampling.AREA).complete
    clock = __import__("time").monotonic
    monkeypatch.setattr("napari_mtlpath.slides.slide.time.monotonic", lambda: clock() + RETRY_SECONDS)
    assert slide.load_tile(0, 0, 0).complete
    assert slide.unreadable_tiles == 0


def test_s16_storage_that_fails_while_opening_is_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sound = SharedFile.read_at
    for failing in range(12):
        calls = iter(range(1000))

        def read_at(self: SharedFile, offset: int, count: int, calls=calls, failing=failing) -> bytes:
            if next(calls) == failing:
                raise OSError(5, "Input/output error")
            return sound(self, offset, count)

        with monkeypatch.context() as patch:
            patch.setattr(SharedFile, "read_at", read_at)
            try:
                open_slide(path).close()
            except ValueError as error:
                assert str(error).endswith(".")  # noqa: PT017  # some reads may fail without consequence


def test_s5_a_fingerprint_follows_the_content_and_not_the_name(path: Path) -> None:
    before = fingerprint(path)
    moved = path.rename(path.with_name("moved.svs"))
    assert fingerprint(moved) == before == open_slide(moved).fingerprint
    rewrite_in_place(moved)
    assert fingerprint(moved) != before


def test_fingerprints_of_slides_that_differ_in_the_middle_differ(tmp_path: Path) -> None:
    array = tissue(900, 900)
    first = write_pyramid(tmp_path / "a.tif", array, levels=(1,), compression=None)
    array[300:600] = 0
    second = write_pyramid(tmp_path / "b.tif", array, levels=(1,), compression=None)
    assert first.stat().st_size == second.stat().st_size
    assert fingerprint(first) != fingerprint(second)

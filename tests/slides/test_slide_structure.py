"""Damaged and hostile files: refused with one sentence, quickly, or shown with what is missing known."""

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from synthetic import tissue, write_aperio_like, write_pyramid

from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.slide import Slide
from napari_mtlpath.slides.source import SlideError
from napari_mtlpath.slides.structure import check_structure

SECONDS = 5.0


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "good.svs"
    return write_aperio_like(path, tissue(400, 600), levels=(1, 4), tile=128, label=True).read_bytes()


@pytest.fixture
def written(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(data: bytes) -> Path:
        path = tmp_path / "mutant.svs"
        path.write_bytes(data)
        return path

    return write


def entries(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield directory number, tag, type and file offset of every entry of a little-endian classic TIFF."""
    offset, number = struct.unpack_from("<I", data, 4)[0], 0
    while offset:
        count = struct.unpack_from("<H", data, offset)[0]
        for entry in range(count):
            place = offset + 2 + 12 * entry
            tag, kind = struct.unpack_from("<HH", data, place)
            yield number, tag, kind, place
        offset = struct.unpack_from("<I", data, offset + 2 + 12 * count)[0]
        number += 1


def place_of(data: bytes, tag: int, *, directory: int = 0) -> int:
    return next(place for number, found, _, place in entries(data) if number == directory and found == tag)


def patched(data: bytes, place: int, form: str, *values: int) -> bytes:
    changed = bytearray(data)
    struct.pack_into("<" + form, changed, place, *values)
    return bytes(changed)


def judge(path: Path) -> Slide | None:
    """Open and read everything; None when refused. Anything but a SlideError fails the test, as does slowness."""
    start = time.perf_counter()
    refusal = ""
    try:
        slide = open_slide(path)
    except SlideError as error:
        refusal = str(error)
    if refusal:
        assert refusal.endswith(".")
        assert "\n" not in refusal
        assert time.perf_counter() - start < SECONDS
        return None
    for level, info in enumerate(slide.levels):
        slide.read_region(0, 0, min(700, info.height), min(700, info.width), level=level)
    slide.read_square(0, 0, 256, tile_px=64, resampling=Resampling.SCALED)
    assert time.perf_counter() - start < SECONDS
    return slide


def test_a_sound_file_passes(good: bytes, written: Callable[[bytes], Path]) -> None:
    report = check_structure(written(good))
    assert len(report.directories) == 5
    assert report.warnings == ()
    assert report.patches == {}


def test_s1_a_cut_file_is_refused_or_its_missing_tiles_are_known(good: bytes, written: Callable[[bytes], Path]) -> None:
    whole = judge(written(good))
    assert whole is not None
    shapes, pixels = whole.levels, whole.read_region(0, 0, whole.height, whole.width).array
    for cut in [*range(0, 300, 7), *np.linspace(300, len(good) - 1, 40).astype(int).tolist()]:
        slide = judge(written(good[:cut]))
        if slide is not None:
            assert slide.levels == shapes
            assert slide.unreadable_tiles > 0 or np.array_equal(
                slide.read_region(0, 0, slide.height, slide.width).array, pixels
            )


def test_s1_a_file_whose_tail_is_missing_opens_with_hatched_tiles(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "tail.tif", tissue(600, 600), levels=(1,), compression=None)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) - 300_000])
    slide = open_slide(path)
    assert any("lie outside it" in warning for warning in slide.facts.warnings)
    pixels = slide.read_region(0, 0, 600, 600)
    assert not pixels.complete
    assert pixels.unreadable == slide.unreadable_tiles == 2
    assert slide.read_region(0, 0, 256, 256).complete
    assert not slide.read_square(420, 400, 150, tile_px=50, resampling=Resampling.SCALED).complete


def test_s2_loops_and_broken_chains_are_refused(good: bytes, written: Callable[[bytes], Path]) -> None:
    first = struct.unpack_from("<I", good, 4)[0]
    count = struct.unpack_from("<H", good, first)[0]
    chain = first + 2 + 12 * count
    for following in (first, 8, len(good) - 1, len(good) + 10, 2**32 - 1, 3):
        assert judge(written(patched(good, chain, "I", following))) is None, following
    for number in (0, 65535):
        assert judge(written(patched(good, first, "H", number))) is None, number


def test_s2_a_long_chain_is_refused_before_it_costs_time(written: Callable[[bytes], Path]) -> None:
    size = 2 + 12 + 4
    body = b"".join(struct.pack("<HHHIII", 1, 256, 4, 1, 16, 8 + size * (number + 1)) for number in range(5000))
    start = time.perf_counter()
    with pytest.raises(SlideError, match="more than 4096"):
        open_slide(written(b"II*\0" + struct.pack("<I", 8) + body + bytes(64)))
    assert time.perf_counter() - start < SECONDS


def test_s2_a_loop_behind_many_directories_is_refused(written: Callable[[bytes], Path]) -> None:
    size = 2 + 12 + 4
    body = b"".join(
        struct.pack("<HHHIII", 1, 256, 4, 1, 16, 8 + size * ((number + 1) % 300 or 150)) for number in range(300)
    )
    with pytest.raises(SlideError, match="loop"):
        open_slide(written(b"II*\0" + struct.pack("<I", 8) + body))


@pytest.mark.parametrize("field", ["tag", "type", "count", "value"])
def test_s3_any_corrupted_entry_is_refused_or_changes_no_pixel(
    good: bytes, written: Callable[[bytes], Path], field: str
) -> None:
    reference = judge(written(good))
    assert reference is not None
    pixels = reference.read_region(0, 0, reference.height, reference.width).array
    place, form = {"tag": (0, "H"), "type": (2, "H"), "count": (4, "I"), "value": (8, "I")}[field]
    random = np.random.default_rng(1)
    harmless = {262, 254, 530, 532, 258, 277, 284, 317, 339, 338, 259, 256, 257, 322, 323, 324, 325}
    for number, tag, _, offset in entries(good):
        if number > 0:
            continue
        for value in (0, 2**16 - 1, int(random.integers(1, 2**16))):
            slide = judge(written(patched(good, offset + place, form, value)))
            if slide is None or tag in harmless:
                continue
            assert np.array_equal(slide.read_region(0, 0, slide.height, slide.width).array, pixels), (tag, value)


def test_s3_the_refusal_names_the_tag(good: bytes, written: Callable[[bytes], Path]) -> None:
    path = written(patched(good, place_of(good, 324) + 8, "I", len(good) + 4))
    with pytest.raises(SlideError, match="TileOffsets"):
        open_slide(path)


@pytest.mark.parametrize("offset", [0, 4, "end", 2**32 - 1])
def test_s4_a_tile_at_an_impossible_place_is_hatched(
    good: bytes, written: Callable[[bytes], Path], offset: int | str
) -> None:
    value = len(good) if offset == "end" else int(offset)
    at = struct.unpack_from("<I", good, place_of(good, 324) + 8)[0]
    slide = judge(written(patched(good, at, "I", value)))
    assert slide is not None
    assert slide.unreadable_tiles == 1
    assert not slide.read_square(0, 0, 128, tile_px=32, resampling=Resampling.SCALED).complete
    assert slide.read_square(0, 128, 128, tile_px=32, resampling=Resampling.SCALED).complete


@pytest.mark.parametrize("count", [0, 1, 2**16, 2**31 - 1])
def test_s4_a_tile_of_an_impossible_size_is_hatched_and_not_background(
    good: bytes, written: Callable[[bytes], Path], count: int
) -> None:
    entry = place_of(good, 325)
    kind, at = struct.unpack_from("<H", good, entry + 2)[0], struct.unpack_from("<I", good, entry + 8)[0]
    form = {3: "H", 4: "I"}[kind]
    slide = judge(written(patched(good, at, form, min(count, 2**16 - 1 if form == "H" else count))))
    assert slide is not None
    tile = slide.load_tile(0, 0, 0)
    if tile.complete:  # more bytes than the tile has, yet within the file: the JPEG ends where it ends
        assert count == 2**16
    else:
        assert len(np.unique(tile.array.reshape(-1, 3), axis=0)) == 2  # the two colours of the hatching


def test_s5_flipped_bits_never_raise(good: bytes, written: Callable[[bytes], Path]) -> None:
    random = np.random.default_rng(7)
    at = struct.unpack_from("<I", good, struct.unpack_from("<I", good, place_of(good, 324) + 8)[0])[0]
    for _ in range(40):
        changed = bytearray(good)
        place = int(random.integers(at, at + 20000)) % len(good)
        changed[place] ^= 1 << int(random.integers(8))
        judge(written(bytes(changed)))


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (256, 0),
        (256, 2**31 - 1),
        (257, 0),
        (257, 2**31 - 1),
        (322, 0),
        (322, 1),
        (323, 2**31 - 1),
        (277, 0),
        (277, 65535),
    ],
)
def test_s6_impossible_sizes_are_refused(good: bytes, written: Callable[[bytes], Path], tag: int, value: int) -> None:
    entry = place_of(good, tag)
    data = patched(good, entry + 2, "HI", 3 if value < 2**16 else 4, 1)
    assert judge(written(patched(data, entry + 8, "I", value))) is None


def test_s6_tiny_tiles_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tif"
    tags = [(256, 20000), (257, 20000), (258, 8), (259, 1), (262, 1), (277, 1), (322, 1), (323, 1), (324, 8), (325, 1)]
    directory = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(tags)) + directory + bytes(4))
    start = time.perf_counter()
    with pytest.raises(SlideError, match="tiles"):
        open_slide(path)
    assert time.perf_counter() - start < SECONDS


def test_s7_a_tile_beyond_the_limits_is_refused(good: bytes, written: Callable[[bytes], Path]) -> None:
    data = good
    for tag in (322, 323):
        entry = place_of(good, tag)
        data = patched(patched(data, entry + 2, "HI", 4, 1), entry + 8, "I", 16384)
    with pytest.raises(SlideError, match="at most 64 megapixels"):
        open_slide(written(data))


def test_s7_a_jpeg_that_claims_to_be_larger_than_its_tile_is_not_decoded(
    good: bytes, written: Callable[[bytes], Path]
) -> None:
    frame = good.index(b"\xff\xc0\x00\x11")
    slide = judge(written(patched(good, frame + 5, "4B", 0xFF, 0xFF, 0xFF, 0xFF)))
    assert slide is not None
    assert slide.unreadable_tiles == 1


def test_s8_a_huge_description_is_ignored_and_the_slide_opens(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "long.svs"
    text = "Aperio Image Library v11\r\n" + "|".join(f"K{n} = V" for n in range(1_200_000))
    tifffile.imwrite(
        path, tissue(256, 256), tile=(128, 128), photometric="rgb", description=text, metadata=None, compression="jpeg"
    )
    assert path.stat().st_size > 12_000_000
    start = time.perf_counter()
    slide = open_slide(path)
    assert slide.read_region(0, 0, 256, 256).complete
    assert time.perf_counter() - start < SECONDS
    assert any("1 MiB" in warning for warning in slide.facts.warnings)


@pytest.mark.parametrize(
    "text", [b"\xff\xfe\xfd caf\xe9", b"<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;"]
)
def test_s8_odd_descriptions_do_not_matter(good: bytes, written: Callable[[bytes], Path], text: bytes) -> None:
    at = struct.unpack_from("<I", good, place_of(good, 270) + 8)[0]
    slide = judge(written(good[:at] + text + good[at + len(text) :]))
    assert slide is not None
    assert slide.read_region(0, 0, slide.height, slide.width).complete


@pytest.mark.parametrize("shape", [(900, 900), (100, 300)])
def test_s10_an_inconsistent_level_is_left_out_and_said_so(tmp_path: Path, shape: tuple[int, int]) -> None:
    import tifffile

    path = tmp_path / "odd.svs"
    with tifffile.TiffWriter(path) as writer:
        for pixels in (tissue(600, 600), tissue(*shape)):
            text = f"Aperio Image Library v11.2.1 \r\n{pixels.shape[1]}x{pixels.shape[0]}|AppMag = 20|MPP = 0.5"
            said = {"photometric": "rgb", "description": text, "metadata": None}
            writer.write(pixels, tile=(128, 128), compression="jpeg", **said)
            if pixels.shape == (600, 600, 3):
                writer.write(pixels[::10, ::10].copy(), **said)
    slide = open_slide(path)
    assert (slide.height, slide.width) == (600, 600)
    assert all(info.height < 600 for info in slide.levels[1:])
    assert any("inconsistent" in warning for warning in slide.facts.warnings)


def test_s12_names_of_any_kind_open(tmp_path: Path, good: bytes) -> None:
    for name in (
        "Übung 切片 🔬.svs",
        "a\tb.svs",
        "-rf.svs",
        "$(reboot).svs",
        "=cmd().svs",
        "CON.svs",
        "x" * 240 + ".svs",
    ):
        path = tmp_path / name
        path.write_bytes(good)
        assert open_slide(path).name == name


def test_s13_what_is_no_regular_file_is_refused_within_a_second(tmp_path: Path, good: bytes) -> None:
    (tmp_path / "folder.svs").mkdir()
    (tmp_path / "dangling.svs").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.svs")
    (tmp_path / "zero.svs").symlink_to("/dev/zero")
    (tmp_path / "empty.svs").touch()
    start = time.perf_counter()
    for name in ("folder.svs", "pipe.svs", "zero.svs", "empty.svs"):
        with pytest.raises(SlideError):
            open_slide(tmp_path / name)
    for name in ("dangling.svs", "missing.svs"):
        with pytest.raises(FileNotFoundError, match="There is no file"):
            open_slide(tmp_path / name)
    assert time.perf_counter() - start < 4.0


def test_s13_a_file_without_permission_is_refused(tmp_path: Path, good: bytes) -> None:
    path = tmp_path / "locked.svs"
    path.write_bytes(good)
    path.chmod(0)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from napari_mtlpath.slides.shared_file import SharedFile\n"
        "from napari_mtlpath.slides.source import SlideError\n"
        "os.getuid() or os.setuid(65534)\n"
        "try: SharedFile(Path(sys.argv[1]))\n"
        "except SlideError as error: print(error)\n"
    )
    tmp_path.chmod(0o755)
    for parent in tmp_path.parents[:3]:
        if parent.stat().st_uid == os.getuid() and parent != Path("/tmp"):  # pytest's own folders
            parent.chmod(0o755)
    run = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "permissions" in run.stdout


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html>404</html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "Git LFS pointer"),
        (b"PK\x03\x04" + bytes(60), "ZIP archive"),
        (bytes(5000), "filled with zeros"),
        (b"\xff\xd8\xff\xe0" + bytes(60), "PNG or JPEG"),
        (b"hello", "none of the known formats"),
        (b"II*\0" + bytes(4), "holds no image"),
    ],
)
def test_s14_other_files_are_named_for_what_they_are(written: Callable[[bytes], Path], data: bytes, words: str) -> None:
    with pytest.raises(SlideError, match=words):
        open_slide(written(data))


def test_bigtiff_is_walked_like_classic_tiff(tmp_path: Path) -> None:
    import tifffile

    path = tmp_path / "big.tif"
    tifffile.imwrite(path, tissue(300, 300), tile=(128, 128), photometric="rgb", bigtiff=True, compression="deflate")
    assert open_slide(path).read_region(0, 0, 300, 300).complete
    data = bytearray(path.read_bytes())
    first = struct.unpack_from("<Q", data, 8)[0]
    count = struct.unpack_from("<Q", data, first)[0]
    struct.pack_into("<Q", data, first + 8 + 20 * count, first)
    path.write_bytes(data)
    with pytest.raises(SlideError, match="loop"):
        open_slide(path)

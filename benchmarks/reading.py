"""How fast tiles are read, as ratios to raw decoding and to peers, interleaved.

    python -m benchmarks.reading [--rounds 7] [--requests 24] [--slides FOLDER]

Goals R1 to R6. The slides are made by ``benchmarks.make_large_slides`` on first use; R4 is also measured on the real
slide CMU-1-Small-Region.svs. Everything is CPU time of one thread with a warm page cache, except the scaling over two
threads, which is wall time. openslide is timed where it is installed.

What bounds R4: most of a scaled decode is reading the Huffman codes, which no decoder can skip. The share grows with
the detail in the tissue, so the table shows how near the decoding alone comes to each goal ("floor"), and what the
codes alone cost: a grey picture of an eighth of the size, for which next to nothing else is computed. What bounds R1:
libjpeg decodes whole tiles to memory of their own, so a region of several costs one copy ("floor"). R1 has two
yardsticks: imagecodecs, with which its goal was once measured, and simplejpeg, which we read with and which takes about
four fifths of that time, so it is the harder one.
"""

import argparse
import importlib.util
import os
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

import imagecodecs
import numpy as np
import simplejpeg
import tifffile
import tiffslide
from numpy.typing import NDArray
from PIL import Image

from benchmarks.harness import Goal, Table, compare, write_json
from benchmarks.make_large_slides import DEFAULT_DATA, large_slide
from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.jpeg import complete_stream, stream_prefix
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resample import shrink
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.shared_file import SharedFile
from napari_mtlpath.slides.slide import Slide

TILE = 256
REAL = Path(os.environ.get("MTLPATH_DATA", DEFAULT_DATA)) / "wsi" / "CMU-1-Small-Region.svs"
Corners = list[tuple[int, int]]


class Raw:
    """The limit: reading and decoding the native tiles that a request touches, and nothing else."""

    def __init__(self, path: Path) -> None:
        self.file = SharedFile(path)
        with tifffile.TiffFile(path) as tiff:
            page = tiff.pages[0]
            self.offsets, self.counts = page.dataoffsets, page.databytecounts
            self.tile = page.tilewidth
            self.columns = -(-page.imagewidth // self.tile)
            self.tables = page.jpegtables
            ycbcr = {2: False, 6: True}.get(int(page.photometric))
            self.prefix = stream_prefix(self.tables, ycbcr=ycbcr)

    def tiles(self, y: int, x: int, size: int) -> list[bytes]:
        found = [
            self.file.read_at(self.offsets[row * self.columns + column], self.counts[row * self.columns + column])
            for row in range(y // self.tile, -(-(y + size) // self.tile))
            for column in range(x // self.tile, -(-(x + size) // self.tile))
        ]
        # Without its tables a stream does not decode; a whole one is decoded as it is.
        return found if self.tables is None else [complete_stream(self.prefix, data) for data in found]

    def read(self, corners: Corners, size: int, *, denominator: int = 1) -> None:
        least = self.tile // denominator
        for y, x in corners:
            for data in self.tiles(y, x, size):
                simplejpeg.decode_jpeg(data, "RGB", min_height=least, min_width=least, min_factor=denominator)

    def read_with_imagecodecs(self, corners: Corners, size: int) -> None:
        """Decode the same tiles with the decoder that tifffile and zarr use."""
        for y, x in corners:
            for data in self.tiles(y, x, size):
                imagecodecs.jpeg8_decode(data)

    def codes(self, corners: Corners, size: int) -> None:
        """Read the Huffman codes of the tiles, and compute as little as libjpeg lets one: one grey pixel of 8 x 8."""
        for y, x in corners:
            for data in self.tiles(y, x, size):
                simplejpeg.decode_jpeg(data, "GRAY", min_height=self.tile // 8, min_width=self.tile // 8, min_factor=8)

    def region(self, y: int, x: int, size: int, *, stored_chroma: bool = False) -> NDArray[np.uint8]:
        """The least that returns one array: libjpeg decodes whole tiles, so each is copied once into its place.

        With `stored_chroma` the colour of 4:2:0 is repeated instead of smoothed over its neighbours.
        """
        side = self.tile
        top, left = y // side * side, x // side * side
        high, wide = -(-(y + size) // side) * side - top, -(-(x + size) // side) * side - left
        out = np.empty((high, wide, 3), np.uint8)
        for number, data in enumerate(self.tiles(y, x, size)):
            row, column = divmod(number, wide // side)
            place = out[row * side : (row + 1) * side, column * side : (column + 1) * side]
            place[:] = simplejpeg.decode_jpeg(data, "RGB", fastupsample=stored_chroma)
        return out[y - top : y - top + size, x - left : x - left + size]


def each(function: Callable[[int, int], object], corners: Corners) -> None:
    """Call for every corner and let each result go at once, as a scan does."""
    for y, x in corners:
        function(y, x)


def uncached(path: Path) -> Slide:
    return open_slide(path, cache=TileCache(max_bytes=0))


def corners_of(side: int, size: int, count: int, *, aligned: bool, seed: int = 1, tile: int = TILE) -> Corners:
    random = np.random.default_rng(seed)
    places = random.integers(0, side - size - 1, (count, 2))
    return [(int(y) // tile * tile, int(x) // tile * tile) if aligned else (int(y), int(x)) for y, x in places]


def regions(path: Path, *, rounds: int, requests: int) -> tuple[dict[str, Table], list[Goal]]:
    """R1 and R2: any tile against raw decoding and against tiffslide."""
    slide, peer, raw = uncached(path), tiffslide.TiffSlide(path), Raw(path)
    tables, goals = {}, []
    for size, aligned in ((256, True), (256, False), (1024, True), (1024, False)):
        name = f"{'aligned' if aligned else 'any'} {size}"
        where = corners_of(slide.height, size, requests if size == 256 else max(16, requests // 6), aligned=aligned)
        table = compare(
            {
                "raw decode": lambda where=where, size=size: raw.read(where, size),
                "raw, imagecodecs": lambda where=where, size=size: raw.read_with_imagecodecs(where, size),
                "raw decode + copy": lambda where=where, size=size: each(lambda y, x: raw.region(y, x, size), where),
                "ours": lambda where=where, size=size: each(lambda y, x: slide.read_region(y, x, size, size), where),
                "tiffslide": lambda where=where, size=size: each(
                    lambda y, x: peer.read_region((x, y), 0, (size, size), as_array=True), where
                ),
            },
            rounds=rounds,
        )
        tables[name] = table
        print(f"\n{name}\n{table.show('raw decode')}")
        floor = table.ratio("raw decode + copy", "raw decode").median
        value = table.ratio("ours", "raw decode").median
        goals.append(Goal(name=f"R1 {name}: ours / raw decode (floor {floor:.3f})", value=value, limit=1.15))
        value = table.ratio("ours", "raw, imagecodecs").median
        goals.append(Goal(name=f"R1 {name}: ours / raw decode with imagecodecs", value=value, limit=1.15))
        limit = {("aligned 256"): 0.33, ("any 1024"): 0.70}.get(name)
        if limit is not None:
            goals.append(
                Goal(name=f"R2 {name}: ours / tiffslide", value=table.ratio("ours", "tiffslide").median, limit=limit)
            )
    return tables, goals


def sizes(small: Path, large: Path, *, rounds: int, requests: int) -> tuple[dict[str, Table], list[Goal]]:
    """R3: the slide's size does not matter."""
    ours = {name: uncached(path) for name, path in (("20k", small), ("60k", large))}
    where = {name: corners_of(slide.height, 256, requests, aligned=True) for name, slide in ours.items()}
    table = compare(
        {
            name: lambda name=name: each(lambda y, x: ours[name].read_region(y, x, 256, 256), where[name])
            for name in ours
        },
        rounds=rounds,
    )
    print(f"\naligned 256 on 20k and 60k\n{table.show('20k')}")
    return {"sizes": table}, [Goal(name="R3 60k / 20k, aligned 256", value=table.ratio("60k", "20k").median, limit=1.2)]


def squares(path: Path, *, rounds: int, requests: int) -> tuple[dict[str, Table], list[Goal]]:
    """R4: squares of 4 x 4 native tiles to a quarter, 1024 px to 256 px on the made slide."""
    slide, peer, raw = uncached(path), tiffslide.TiffSlide(path), Raw(path)
    size = 4 * raw.tile
    extent = min(slide.height, slide.width)
    count = max(4, requests // 6)
    where = corners_of(extent, size + raw.tile, count, aligned=True, tile=raw.tile)

    def square(y: int, x: int, resampling: Resampling) -> NDArray[np.uint8]:
        return slide.read_square(y, x, size, tile_px=size // 4, resampling=resampling).array

    def full(y: int, x: int, *, stored_chroma: bool = False) -> NDArray[np.uint8]:
        return shrink(raw.region(y, x, size, stored_chroma=stored_chroma), 4)

    def bilinear(image: Image.Image) -> Image.Image:
        return image.resize((size // 4, size // 4), Image.Resampling.BILINEAR)

    candidates: dict[str, Callable[[], object]] = {
        "ours, scaled": lambda: each(lambda y, x: square(y, x, Resampling.SCALED), where),
        "ours, area": lambda: each(lambda y, x: square(y, x, Resampling.AREA), where),
        "ours, stored level": lambda: each(lambda y, x: square(y, x, Resampling.STORED), where),
        "ours, scaled, any corner": lambda: each(lambda y, x: square(y + 101, x + 101, Resampling.SCALED), where),
        "raw scaled decode": lambda: raw.read(where, size, denominator=4),
        "reading the codes alone": lambda: raw.codes(where, size),
        "full decode + area": lambda: each(full, where),
        "tiffslide + PIL bilinear": lambda: each(
            lambda y, x: bilinear(peer.read_region((x, y), 0, (size, size))), where
        ),
    }
    limits = {"tiffslide + PIL bilinear": 0.12, "full decode + area": 0.35}
    if importlib.util.find_spec("openslide") is not None:
        import openslide

        other = openslide.OpenSlide(path)
        candidates["openslide + PIL bilinear"] = lambda: each(
            lambda y, x: bilinear(other.read_region((x, y), 0, (size, size)).convert("RGB")), where
        )
        limits["openslide + PIL bilinear"] = 0.06
    table = compare(candidates, rounds=rounds)
    label = f"{path.stem}, {size} to {size // 4}"
    print(f"\n{label}\n{table.show('full decode + area')}")
    goals = []
    for name, limit in limits.items():
        floor = table.ratio("raw scaled decode", name).median
        codes = table.ratio("reading the codes alone", name).median
        value = table.ratio("ours, scaled", name).median
        words = f"R4 {label}: ours / {name} (floor {floor:.3f}, codes alone {codes:.3f})"
        goals.append(Goal(name=words, value=value, limit=limit))
    value = table.ratio("ours, scaled", "raw scaled decode").median
    goals.append(Goal(name=f"R4 {label}: ours / raw scaled decode", value=value, limit=1.15))
    ours = np.array([square(y, x, Resampling.SCALED) for y, x in where], float)
    theirs = np.array([np.asarray(bilinear(peer.read_region((x, y), 0, (size, size))))[..., :3] for y, x in where])
    mean = np.array([full(y, x) for y, x in where], float)
    stored = np.array([full(y, x, stored_chroma=True) for y, x in where], float)
    errors, off = np.abs(ours - mean), np.abs(ours - stored).mean()
    name = f"R4 {label}: mean error against the area mean, grey levels (colour as stored: {off:.2f})"
    goals.append(Goal(name=name, value=float(errors.mean()), limit=0.25))
    goals.append(Goal(name=f"R4 {label}: largest error", value=float(errors.max()), limit=10))
    ratio = float(errors.mean() / np.abs(theirs - mean).mean())
    goals.append(Goal(name=f"R4 {label}: mean error / that of PIL bilinear", value=ratio, limit=0.3))
    return {f"squares {path.stem}": table}, goals


def scaling(path: Path, *, rounds: int, requests: int) -> tuple[dict[str, Table], list[Goal]]:
    """R5: a scan with two threads, beside what two threads gain that only decode (other programs run here too)."""
    slide = uncached(path)
    where = corners_of(slide.height, 1024, max(32, requests * 2), aligned=True)

    raw = Raw(path)

    def scan(corners: Corners) -> None:
        each(lambda y, x: slide.read_square(y, x, 1024, tile_px=256, resampling=Resampling.SCALED), corners)

    def limit(corners: Corners) -> None:
        raw.read(corners, 1024, denominator=4)

    table = compare(
        {
            "1 thread": lambda: scan(where),
            "2 threads": lambda: halves(scan, where),
            "raw, 1 thread": lambda: limit(where),
            "raw, 2 threads": lambda: halves(limit, where),
        },
        rounds=rounds,
    )
    gain = 1 / table.ratio("2 threads", "1 thread", clock="wall").median
    best = 1 / table.ratio("raw, 2 threads", "raw, 1 thread", clock="wall").median
    print(f"\nscan 1024 to 256\n{table.show('1 thread')}\nwall gain {gain:.2f}, of raw decoding {best:.2f}")
    return {"scaling": table}, [
        Goal(name="R5 wall gain of 2 threads", value=gain, limit=1.8, at_most=False),
        Goal(name="R5 the same over the gain of raw decoding", value=gain / best, limit=0.95, at_most=False),
    ]


def halves(work: Callable[[Corners], None], corners: Corners) -> None:
    threads = [threading.Thread(target=work, args=(corners[half::2],)) for half in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def opening(path: Path, *, rounds: int) -> tuple[dict[str, Table], list[Goal]]:
    """R6: opening the large slide."""
    candidates: dict[str, Callable[[], object]] = {
        "ours": lambda: open_slide(path).close(),
        "tiffslide": lambda: tiffslide.TiffSlide(path).properties,
    }
    if importlib.util.find_spec("openslide") is not None:
        import openslide

        candidates["openslide"] = lambda: openslide.OpenSlide(path).close()
    table = compare(candidates, rounds=rounds)
    reference = "openslide" if "openslide" in candidates else "tiffslide"
    print(f"\nopening 60k\n{table.show(reference)}")
    ratio = table.ratio("ours", reference).median
    return {"opening": table}, [Goal(name=f"R6 opening 60k: ours / {reference}", value=ratio, limit=1.0)]


def jpeg_2000(path: Path, *, rounds: int, requests: int) -> tuple[dict[str, Table], list[Goal]]:
    """JPEG 2000 by its own yardstick: the raw decoding of the same tiles."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "j2k.tif"
        pixels = open_slide(path).read_region(0, 0, 2048, 2048).array
        tifffile.imwrite(made, pixels, photometric="rgb", tile=(TILE, TILE), compression="jpeg2000", metadata=None)
        slide, raw = uncached(made), Raw(made)
        where = corners_of(2048, 256, max(4, requests // 4), aligned=True)
        table = compare(
            {
                "raw decode": lambda: [
                    imagecodecs.jpeg2k_decode(data) for y, x in where for data in raw.tiles(y, x, 256)
                ],
                "ours": lambda: each(lambda y, x: slide.read_region(y, x, 256, 256), where),
            },
            rounds=rounds,
        )
    print(f"\nJPEG 2000, aligned 256\n{table.show('raw decode')}")
    ratio = table.ratio("ours", "raw decode").median
    return {"jpeg 2000": table}, [Goal(name="JPEG 2000: ours / raw decode", value=ratio, limit=1.15)]


def main(*, rounds: int, requests: int, slides: Path | None) -> None:
    small, large = (large_slide(name, out=slides) for name in ("s20k", "s60k"))
    parts = [
        regions(small, rounds=rounds, requests=requests),
        sizes(small, large, rounds=rounds, requests=requests),
        squares(small, rounds=rounds, requests=requests),
        squares(REAL, rounds=rounds, requests=requests) if REAL.is_file() else ({}, []),
        scaling(small, rounds=rounds, requests=requests),
        opening(large, rounds=rounds),
        jpeg_2000(small, rounds=rounds, requests=requests),
    ]
    goals = [goal for _, found in parts for goal in found]
    print("\n" + "\n".join(str(goal) for goal in goals))
    tables = {name: table for found, _ in parts for name, table in found.items()}
    print(write_json("reading", goals=goals, tables=tables))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--requests", type=int, default=24)
    parser.add_argument(
        "--slides", type=Path, default=None, help="folder of the large slides; the user's cache by default"
    )
    arguments = parser.parse_args()
    main(rounds=arguments.rounds, requests=arguments.requests, slides=arguments.slides)

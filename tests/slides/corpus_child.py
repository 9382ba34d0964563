"""Run by test_slide_corpus in a process of its own, with its memory limited: open and read every file of a folder."""

import logging
import resource
import sys
import time
from pathlib import Path

from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling
from napari_mtlpath.slides.source import SlideError

MEMORY = 4 * 2**30


def outcome(path: Path) -> str:
    try:
        slide = open_slide(path)
    except SlideError:
        return "refused"
    for level, info in enumerate(slide.levels):
        slide.read_region(0, 0, min(512, info.height), min(512, info.width), level=level)
    slide.read_square(0, 0, 256, tile_px=64, resampling=Resampling.SCALED)
    slide.close()
    return "opened"


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for file in sorted(path for path in Path(sys.argv[1]).rglob("*") if path.is_file()):
        start = time.process_time()
        try:
            verdict = outcome(file)
        except Exception as error:
            verdict = f"raised {type(error).__name__}"
        print(verdict, f"{time.process_time() - start:.2f}", file.name, sep="\t", flush=True)

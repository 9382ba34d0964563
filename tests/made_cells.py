"""Made-up cells for tests: small coloured squares whose labels can be seen."""

import csv
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from napari_mtlpath.simulation.cells import CELL_TASKS, CellSet, duplicate_groups

TYPES = CELL_TASKS[0].classes
COLOURS = {
    "Neutrophil": (230, 120, 160),
    "Eosinophil": (240, 90, 60),
    "Basophil": (60, 20, 120),
    "Lymphocyte": (60, 60, 220),
    "Monocyte": (150, 150, 190),
}
SIDE = 16


def made_cells(count: int = 200, *, seed: int = 0) -> CellSet:
    """Cells of SIDE x SIDE pixels: the type gives the colour, a vacuole is a white square; every fourth validates."""
    random = np.random.default_rng(seed)
    types = np.arange(count) % len(TYPES)
    vacuolated = (np.arange(count) // len(TYPES)) % 3 == 0
    images = np.stack([_image(TYPES[t], bool(v), random) for t, v in zip(types, vacuolated, strict=True)])
    labels = np.zeros((count, len(CELL_TASKS)), dtype=np.int64)
    labels[:, 0] = types
    labels[:, [task.name for task in CELL_TASKS].index("cytoplasm_vacuole")] = vacuolated
    return CellSet(
        images=images,
        names=tuple(f"cell-{number}.png" for number in range(count)),
        labels=labels,
        duplicate_groups=duplicate_groups(list(images)),
        in_validation=(np.arange(count) // len(TYPES)) % 4 == 1,
    )


def write_archive(path: Path, cells: CellSet, *, labels: dict[str, str] | None = None) -> Path:
    """Write cells as the archive is laid out; `labels` overrules columns of every row."""
    columns = ["label", *(task.name for task in cells.tasks[1:])]
    with zipfile.ZipFile(path, "w") as archive:
        for name, image in zip(cells.names, cells.images, strict=True):
            buffer = io.BytesIO()
            Image.fromarray(image).save(buffer, "PNG")
            archive.writestr(f"images/{name}", buffer.getvalue())
        for table, held_out in (("labels_train.csv", False), ("labels_val.csv", True)):
            text = io.StringIO()
            writer = csv.DictWriter(text, ["img_name", *columns])
            writer.writeheader()
            for row in np.flatnonzero(cells.in_validation == held_out):
                named = [task.classes[code] for task, code in zip(cells.tasks, cells.labels[row], strict=True)]
                writer.writerow(
                    {"img_name": cells.names[row], **dict(zip(columns, named, strict=True)), **(labels or {})}
                )
            archive.writestr(table, text.getvalue())
    return path


def _image(kind: str, vacuolated: bool, random: np.random.Generator) -> np.ndarray:
    image = np.clip(np.array(COLOURS[kind]) + random.integers(-12, 13, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
    if vacuolated:
        image[4:9, 4:9] = 250
    return image

"""Tiny slide-aware trainings for tests: made-up cells, a network of some thousand parameters."""

from pathlib import Path
from typing import Any

from made_cells import made_cells, write_archive

from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import parse_config

TINY = {
    "model": "resnet10t",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "arguments": {"channels": [8, 8, 16, 16], "stem_width": 8},
}


def tiny_tables(**changes: Any) -> dict[str, Any]:
    """Return the tables of a tiny config; `changes` are added to its tables."""
    tables: dict[str, Any] = {
        "kind": "slide_aware",
        "name": "tiny",
        "seed": 1,
        "data": {
            "source": "cells",
            "archive": "cells.zip",
            "witness_rate": 0.1,
            "slides": 4,
            "cells_per_slide": 20,
            "test_slides": 2,
        },
        "encoder": {"options": TINY},
        "objective": {"width": 16},
        "optimisation": {"epochs": 2, "batch": 20, "learning_rate": 5e-3},
        "card": {"title": "Tiny", "limits": "made up"},
    }
    for name, values in changes.items():
        tables[name] = tables.get(name, {}) | values if isinstance(values, dict) else values
    return tables


def tiny_config(**changes: Any) -> SlideAwareConfig:
    """Return the config of :func:`tiny_tables`."""
    config = parse_config(tiny_tables(**changes))
    assert isinstance(config, SlideAwareConfig)
    return config


def write_cells(folder: Path) -> Path:
    """Write the archive that the config names."""
    return write_archive(folder / "cells.zip", made_cells(200))

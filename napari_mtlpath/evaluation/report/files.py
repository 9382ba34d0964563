"""Reports on disk: JSON, CSV, Markdown and one HTML page, each whole or not at all."""

import csv
import json
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from napari_mtlpath.evaluation.comparison import Comparison
from napari_mtlpath.evaluation.gain import Gain
from napari_mtlpath.evaluation.judge import RunReport
from napari_mtlpath.evaluation.report.comparison_document import comparison_document
from napari_mtlpath.evaluation.report.document import Document, html_page, markdown
from napari_mtlpath.evaluation.report.run_document import run_document
from napari_mtlpath.evaluation.report.values import (
    COLUMNS,
    COMPARISON_COLUMNS,
    comparison_rows,
    comparison_values,
    run_rows,
    run_values,
)
from napari_mtlpath.files import replacing

EVALUATION = "evaluation"
COMPARISON = "comparison"


NO_PICTURES = "The page has no pictures: they need matplotlib (pip install 'napari-mtlpath[report]')."


def has_pictures() -> bool:
    """Return whether matplotlib is there to draw with."""
    return find_spec("matplotlib") is not None


def write_run_report(
    folder: Path, report: RunReport, *, with_names: bool = False, gain: Gain | None = None
) -> tuple[Path, ...]:
    """Write a judged run below `folder` as evaluation.json, .csv, .md and .html; return the paths.

    Without matplotlib the page has no pictures. `with_names` lists wrongly answered samples by name in the Markdown
    and HTML files.
    """
    document = run_document(report, with_names=with_names, pictures=has_pictures(), gain=gain)
    return _write(folder / EVALUATION, document, run_values(report, gain=gain), run_rows(report), COLUMNS)


def write_comparison(folder: Path, comparison: Comparison) -> tuple[Path, ...]:
    """Write a comparison below `folder` as comparison.json, .csv, .md and .html; return the paths."""
    document = comparison_document(comparison, pictures=has_pictures())
    values, rows = comparison_values(comparison), comparison_rows(comparison)
    return _write(folder / COMPARISON, document, values, rows, COMPARISON_COLUMNS)


def _write(
    stem: Path,
    document: Document,
    values: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[str],
) -> tuple[Path, ...]:
    texts = {
        ".json": json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        ".md": markdown(document),
        ".html": html_page(document),
    }
    for suffix, text in texts.items():
        with replacing(stem.with_suffix(suffix)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    with (
        replacing(stem.with_suffix(".csv")) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as stream,
    ):
        writer = csv.DictWriter(stream, fieldnames=list(columns), restval="")
        writer.writeheader()
        writer.writerows(rows)
    return tuple(stem.with_suffix(suffix) for suffix in (".json", ".csv", ".md", ".html"))

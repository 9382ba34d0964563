"""`mtlpath retrieve`: how many of the abnormal tiles are among the K that a model ranks highest."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, print_json, printable

if TYPE_CHECKING:
    from napari_mtlpath.evaluation.retrieval import RetrievalSummary
    from napari_mtlpath.evaluation.tile_truth import JudgedTiles

USUAL_K = [10, 50, 400]


def retrieve(
    folders: Annotated[
        list[Path],
        typer.Argument(metavar="FOLDER...", help="Slides' folders as predict writes them.", show_default=False),
    ],
    truth: Annotated[
        Path,
        typer.Option(help="What each tile is: SLIDE.csv (row, column, abnormal), SLIDE.truth.npz, or their folder."),
    ],
    by: Annotated[
        list[str], typer.Option(help="Column of tiles.csv, such as 'blasts: attention'; by default every one.")
    ] = [],  # noqa: B006  typer reads the default, nobody changes it
    k: Annotated[list[int], typer.Option("--k", min=1, help="Tiles that are looked at; may be repeated.")] = USUAL_K,
    out: Annotated[Path | None, typer.Option(help="Write the table as Markdown, too.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Say what the K highest-ranked tiles of slides hold: hits, recall, precision and enrichment.

    Each figure stands beside that of a blind choice of as many tiles. Slides without an abnormal tile are left out.
    """
    from napari_mtlpath.evaluation.retrieval import retrieval_table
    from napari_mtlpath.evaluation.tile_truth import judged_tiles

    slides = [judged_tiles(folder, truth) for folder in folders]
    positive = [slide for slide in slides if slide.abnormal.any()]
    if not positive:
        raise ValueError("No slide has an abnormal tile, so nothing can be found. Give slides that have some.")
    rows = [(name, _summary(positive, name, count)) for name in _columns(positive, by) for count in sorted(set(k))]
    text = retrieval_table(rows)
    if out is not None:
        from napari_mtlpath.files import replacing

        with replacing(out) as temporary:
            temporary.write_text(f"{text}\n\n{RESEARCH_USE_ONLY}.\n", encoding="utf-8")
    if as_json:
        print_json({"use": RESEARCH_USE_ONLY, "rows": [_as_dict(name, summary) for name, summary in rows]})
        return
    for line in text.splitlines():
        typer.echo(printable(line))
    left_out = len(slides) - len(positive)
    if left_out:
        typer.echo(f"Left out {left_out} slides without an abnormal tile.")
    unknown = sum(slide.unknown for slide in positive)
    if unknown:
        typer.echo(f"Left out {unknown} tiles of which nothing is known.")
    typer.echo(f"{RESEARCH_USE_ONLY}.")


def _columns(slides: "list[JudgedTiles]", wanted: list[str]) -> list[str]:
    from napari_mtlpath.nn.options import nearest

    known = [name for name in slides[0].scores if all(name in slide.scores for slide in slides)]
    for name in wanted:
        if name not in known:
            raise ValueError(f"There is no column {name!r}.{nearest(name, known)} Columns: {', '.join(known)}.")
    return wanted or known


def _summary(slides: "list[JudgedTiles]", name: str, k: int) -> "RetrievalSummary":
    import numpy as np

    from napari_mtlpath.evaluation.retrieval import retrieve as retrieved
    from napari_mtlpath.evaluation.retrieval import summarise

    found = []
    for slide in slides:
        scored = np.isfinite(slide.scores[name])
        if not slide.abnormal[scored].any():
            raise ValueError(f"No abnormal tile of {slide.slide} has a value for {name!r}. Choose another column.")
        found.append(retrieved(slide.scores[name][scored], slide.abnormal[scored], k=k))
    return summarise(found, k=k)


def _as_dict(name: str, summary: "RetrievalSummary") -> dict[str, Any]:
    from dataclasses import asdict

    return {"by": name, **asdict(summary)}

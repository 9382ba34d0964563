"""The README of a model folder, written from its card so that the two never disagree."""

from collections.abc import Mapping
from typing import Any

from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.tiles.spec import TileSpec

HEADINGS = ("Made for", "Use", "Data and training", "Figures", "Limits", "Licence and attribution")
"""Every model's README has these, in this order."""


def encoder_readme(card: EncoderCard) -> str:
    """Return README.md of an encoder's folder."""
    use = f"`mtlpath` and `load_encoder` know it as `{card.name}`."
    tile = "Takes tiles of any magnification." if card.tile is None else tile_text(card.tile)
    weights = f"SHA-256 of `encoder.safetensors`: `{card.sha256}`." if card.sha256 else "It has no weights of its own."
    if card.weights:
        weights = f"Weights: {card.weights}."
    return readme(
        title=card.title or card.name,
        summary=card.summary,
        sections={
            "Made for": card.made_for,
            "Use": f"{use} It gives {card.features} features per tile. {tile} {weights}",
            "Data and training": provenance_text(card.provenance),
            "Figures": figures_text(card.metrics),
            "Limits": card.limits,
            "Licence and attribution": f"{card.licence}. {card.attribution}".strip(),
        },
    )


def readme(*, title: str, summary: str, sections: Mapping[str, str]) -> str:
    """Return a README with all headings of HEADINGS; an empty section says so."""
    text = [f"# {title}", "", summary or "No summary.", "", "Research use only: not for diagnosis.", ""]
    for heading in HEADINGS:
        text += [f"## {heading}", "", sections.get(heading, "").strip() or "Nothing is stated.", ""]
    return "\n".join(text)


def figures_text(metrics: Mapping[str, Mapping[str, float | str]]) -> str:
    """Return the metrics as a table, each beside its trivial floor and its interval where they are stated."""
    rows = [
        f"| {group} | {name} | {_number(value)} | {_number(values.get(f'{name}_floor'))} | {_interval(values, name)} |"
        for group, values in metrics.items()
        for name, value in values.items()
        if not name.endswith(("_floor", "_low", "_high"))
    ]
    if not rows:
        return ""
    return "\n".join(["| of | metric | value | trivial floor | 95 % interval |", "|---|---|---|---|---|", *rows])


def tile_text(tile: TileSpec) -> str:
    """Return what one tile is, in words."""
    return f"Tiles of {tile.tile_um:g} µm, {tile.tile_px} px ({tile.mpp:.4g} µm/px, {tile.resampling})."


def provenance_text(provenance: Mapping[str, Any]) -> str:
    """Return provenance as a list."""
    return "\n".join(f"- {key}: {value}" for key, value in provenance.items())


def _interval(values: Mapping[str, float | str], name: str) -> str:
    low, high = values.get(f"{name}_low"), values.get(f"{name}_high")
    return "" if low is None or high is None else f"{_number(low)} to {_number(high)}"


def _number(value: float | str | None) -> str:
    match value:
        case None:
            return ""
        case str():
            return value
        case _:
            return f"{value:.4g}"

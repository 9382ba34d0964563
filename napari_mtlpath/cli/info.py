"""`mtlpath info`: what a slide file is, and where its resolution comes from."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, table

if TYPE_CHECKING:
    from napari_mtlpath.slides.slide import Slide


def info(
    slide: Annotated[Path, typer.Argument(metavar="SLIDE", help="The slide file.", show_default=False)],
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel, where the file does not say.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Say what a slide file is.

    Format, size, levels, resolution and where it comes from, names of associated images, technical properties.
    """
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import ResolutionMemory

    opened = open_slide(slide, mpp=mpp, memory=ResolutionMemory())
    try:
        facts = _facts(opened)
    finally:
        opened.close()
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def _facts(slide: "Slide") -> dict[str, Any]:
    resolution = slide.resolution
    return {
        "name": slide.name,
        "format": slide.facts.format,
        "fingerprint": slide.fingerprint,
        "height": slide.height,
        "width": slide.width,
        "mpp_y": resolution.mpp[0] if resolution.mpp else None,
        "mpp_x": resolution.mpp[1] if resolution.mpp else None,
        "mpp_source": resolution.source.value,
        "mpp_detail": resolution.detail,
        "levels": [
            {"height": level.height, "width": level.width, "downsample": list(level.downsample), "stored": level.stored}
            for level in slide.levels
        ],
        "associated": {name: list(size) for name, size in slide.facts.associated.items()},
        "icc_profile": slide.facts.icc_profile is not None,
        "properties": dict(slide.facts.properties),
        "warnings": list(slide.facts.warnings),
        "use": RESEARCH_USE_ONLY,
    }


def _print(facts: dict[str, Any]) -> None:
    out = console()
    summary = table("Slide", facts["name"])
    add_row(summary, "Format", facts["format"])
    add_row(summary, "Size", f"{facts['width']} x {facts['height']} px (width x height)")
    if facts["mpp_y"] is not None:
        width, height = facts["width"] * facts["mpp_x"] / 1000, facts["height"] * facts["mpp_y"] / 1000
        add_row(summary, "On the glass", f"{width:.2f} x {height:.2f} mm")
        add_row(summary, "Resolution", f"{facts['mpp_x']:.4g} x {facts['mpp_y']:.4g} um/px (x, y)")
    else:
        add_row(summary, "Resolution", "unknown: give it with --mpp")
    add_row(summary, "Resolution from", f"{facts['mpp_source']}. {facts['mpp_detail']}")
    # Associated images are named only: a label or macro may show who the patient is.
    names = [f"{name} ({width} x {height} px)" for name, (height, width) in facts["associated"].items()]
    add_row(summary, "Associated images", ", ".join(names) or "none")
    add_row(summary, "Colour profile", "ICC" if facts["icc_profile"] else "none")
    add_row(summary, "Fingerprint", facts["fingerprint"])
    out.print(summary)

    levels = table("Level", "Width", "Height", "Downsample", "")
    for number, level in enumerate(facts["levels"]):
        kind = "in the file" if level["stored"] else "made when shown"
        add_row(levels, number, level["width"], level["height"], f"{level['downsample'][1]:.6g}", kind)
    out.print(levels)

    if facts["properties"]:
        properties = table("Property", "Value")
        for key, value in sorted(facts["properties"].items()):
            add_row(properties, key, value)
        out.print(properties)
    for warning in facts["warnings"]:
        out.print(f"Note: {warning}")

"""`mtlpath doctor`: what works on this machine, and what to install for the rest."""

from dataclasses import asdict
from typing import Annotated

import typer

from napari_mtlpath.cli.console import RESEARCH_USE_ONLY, add_row, console, print_json, table


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")] = False,
) -> None:
    """Say what works on this machine.

    Looks at torch and its device, graphics, Qt, readers, optional parts, models and folders, and names what to install.
    Exits with 1 if a needed part is missing.
    """
    from napari_mtlpath.cli.health import findings

    found = list(findings())
    healthy = all(finding.works for finding in found if finding.needed)
    if as_json:
        print_json({"healthy": healthy, "findings": [asdict(finding) for finding in found], "use": RESEARCH_USE_ONLY})
    else:
        shown = table("", "Part", "Found")
        for finding in found:
            mark = "ok" if finding.works else "missing" if finding.needed else "-"
            add_row(shown, mark, finding.part, finding.found)
            if finding.advice:
                add_row(shown, "", "", f"-> {finding.advice}")
        out = console()
        out.print(shown)
        verdict = "Everything needed is here." if healthy else "A needed part is missing: see above."
        out.print(f"{verdict} {RESEARCH_USE_ONLY}.")
    if not healthy:
        raise typer.Exit(1)

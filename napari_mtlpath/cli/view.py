"""`mtlpath view`: a slide in napari, with a model working on what is visible."""

from pathlib import Path
from typing import Annotated

import typer

from napari_mtlpath.encoders.backend import Backend


def view(
    slide: Annotated[Path, typer.Argument(metavar="SLIDE", help="The slide file.", show_default=False)],
    model: Annotated[
        str | None, typer.Option(help="Name of a model (see `mtlpath models`), or its folder.", show_default=False)
    ] = None,
    mpp: Annotated[
        float | None, typer.Option(help="Microns per pixel, where the slide does not say.", show_default=False)
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")] = "auto",
    backend: Annotated[
        Backend, typer.Option(help="What computes the encoder; auto takes OpenVINO where it gives torch's features.")
    ] = Backend.TORCH,
    task: Annotated[str | None, typer.Option(help="Name of the task to paint first.", show_default=False)] = None,
) -> None:
    """Open a slide in napari.

    The panel opens beside it and, where one is given, a model works on what is visible.
    """
    from napari_mtlpath.cli.display import require_display
    from napari_mtlpath.slides.open import open_slide
    from napari_mtlpath.slides.resolution import ResolutionMemory

    # A file that cannot be opened is refused here, in one line, before a window comes up.
    open_slide(slide, mpp=mpp, memory=ResolutionMemory()).close()
    if model is not None:
        from napari_mtlpath.zoo.load import find_model

        find_model(model)
    require_display()

    from napari_mtlpath.viewer.launch import Launch, show

    show(Launch(slide=slide, model=model, mpp=mpp, device=device, backend=str(backend), task=task))

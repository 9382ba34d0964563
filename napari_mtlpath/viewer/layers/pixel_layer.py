"""One napari layer that shows a pixel model's answer to a task: exactly placed, composed when looked at."""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.pixels.painting import PaintKind, PixelPainting
from napari_mtlpath.inference.pixels.planes import FULL
from napari_mtlpath.session.overlay import ColourScale, OverlayChoice, colour_scale
from napari_mtlpath.session.wording import task_title
from napari_mtlpath.viewer.class_colours import class_table
from napari_mtlpath.viewer.heat_colours import COLOURS, first_shown, heat_colours
from napari_mtlpath.viewer.layers.pixel_level import PixelLevel
from napari_mtlpath.viewer.layers.pixel_picture import PixelLook, PixelPicture
from napari_mtlpath.viewer.layers.refresher import Refresher

if TYPE_CHECKING:
    from napari_mtlpath.tasks import AnyTask

PIXELS_KEY = "mtlpath_pixels"
"""Marks the metadata of a pixel layer."""


def placing_of(lattice: Lattice, mpp: tuple[float, float]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return scale and translate of a layer with the lattice's pixels, in napari's world of microns.

    napari draws the centre of pixel (0, 0) at `translate`, and the slide's first pixel is centred at 0: the lattice's
    pixel i covers the slide's pixels i step to (i + 1) step, whose centre is i step + (step - 1) / 2.
    """
    half = (lattice.step - 1) / 2
    return (lattice.step * mpp[0], lattice.step * mpp[1]), (half * mpp[0], half * mpp[1])


def look_of(painting: PixelPainting, task: "AnyTask", choice: OverlayChoice, *, dark: bool) -> PixelLook:
    """Return how a task is painted as chosen."""
    kind = PaintKind(choice.kind.value)
    maps, plane = painting.maps_of(kind), painting.plane(task.name, kind, shown_class=choice.shown_class)
    if kind is PaintKind.CLASSES:
        classes = len(painting.segmentation(task.name).classes)
        return PixelLook(maps=maps, plane=plane, table=class_table(classes, dark=dark), contours=choice.contours)
    scale = colour_scale(choice.kind, task)
    return PixelLook(
        maps=maps, plane=plane, table=value_table(choice.colormap, hidden=scale.fraction(choice.threshold))
    )


def value_table(colormap: str, *, hidden: float) -> NDArray[np.uint8]:
    """Return RGBA [256, 4] for values from 0 to 255: see-through below a share `hidden` of them, as in heatmaps."""
    colours = (heat_colours(colormap, start=first_shown(hidden)) * FULL).round().astype(np.uint8)
    share = np.arange(256) / FULL
    place = np.clip((share - hidden) / max(1 - hidden, 1e-6), 0, 1) * (COLOURS - 1)
    table = colours[place.round().astype(int)]
    table[share < hidden] = 0
    return table


class PixelLayer:
    """The layer of one task's answers, pixel by pixel.

    Changes that the user makes in napari's own controls stay: a property is set only when the choice of it changed.

    Parameters
    ----------
    task
        The task.
    painting
        What to show first.
    mpp, units
        The slide's microns per pixel, and the world units of its layer.
    choice
        How to show it.
    dark
        Whether the window is dark.
    """

    def __init__(
        self,
        task: "AnyTask",
        painting: PixelPainting,
        *,
        mpp: tuple[float, float],
        units: tuple[str, str],
        choice: OverlayChoice,
        dark: bool,
    ) -> None:
        self.task = task
        self.painting = painting
        self._choice = choice
        self._dark = dark
        self._picture = PixelPicture(look_of(painting, task, choice, dark=dark))
        scale, translate = placing_of(painting.maps.lattice, mpp)
        self.layer = Image(
            [PixelLevel(self._picture, level) for level in range(len(self._picture.levels))],
            name=self._name(choice),
            rgb=True,
            multiscale=True,
            blending="translucent",
            interpolation2d="nearest",
            opacity=choice.opacity,
            visible=choice.visible,
            cache=False,
            scale=scale,
            translate=translate,
            units=units,
            axis_labels=("y", "x"),
            metadata={PIXELS_KEY: True},
        )
        self._refresher = Refresher()
        self._refresher.add(self.layer)
        for maps in (painting.maps, painting.attention):
            if maps is not None:
                maps.on_restored = self._refresher.post

    @property
    def scale(self) -> ColourScale:
        """What the colours stand for."""
        return colour_scale(self._choice.kind, self.task)

    def choose(self, task: "AnyTask", choice: OverlayChoice, *, dark: bool) -> None:
        """Show the answers to a task as chosen."""
        before, self._choice = self._choice, choice
        name, self.task = self._name(before), task
        if choice.opacity != before.opacity:
            self.layer.opacity = choice.opacity
        if self._name(choice) != name:
            self.layer.name = self._name(choice)
        painted = ("task", "kind", "threshold", "colormap", "contours", "shown_class")
        if dark != self._dark or any(getattr(choice, name) != getattr(before, name) for name in painted):
            self._dark = dark
            self._picture.look = look_of(self.painting, task, choice, dark=dark)
            self._redraw()

    def show(self, painting: PixelPainting) -> None:
        """Show what was added since."""
        if painting.version != self.painting.version:
            self.painting = painting
            self._redraw()

    def words_at(self, position: Any) -> str:  # noqa: ANN401 - a world position as napari gives it
        """Return what is said under a world position, or an empty text outside the slide's tiles."""
        row, column = self.layer.world_to_data(position)[-2:]
        lattice = self.painting.maps.lattice
        y, x = (float(place + 0.5) * lattice.step - 0.5 for place in (row, column))
        if lattice.pixel_at(y, x) is None:
            return ""
        return f"{self.layer.name}: {self.painting.words_at(self.task.name, PaintKind(self._choice.kind.value), y, x)}"

    def close(self) -> None:
        """Redraw nothing any more."""
        self._refresher.close()

    def _redraw(self) -> None:
        self.layer.refresh(extent=False, thumbnail=False, highlight=False)

    def _name(self, choice: OverlayChoice) -> str:
        title = task_title(self.task)
        if choice.kind.value == PaintKind.PROBABILITY.value:
            planes = self.painting.maps.planes
            number = self.painting.plane(self.task.name, PaintKind.PROBABILITY, shown_class=choice.shown_class)
            shown = self.painting.segmentation(self.task.name).classes[number - planes.first(self.task.name)]
            return f"{title}: {choice.kind.value} of {shown}"
        return f"{title}: {choice.kind.value}"

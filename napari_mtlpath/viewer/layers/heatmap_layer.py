"""One napari image layer that shows a heatmap: one small pixel per tile, exactly placed, changed in place."""

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from napari_mtlpath.session.overlay import ColourScale, OverlayChoice, colour_scale
from napari_mtlpath.session.wording import task_title
from napari_mtlpath.viewer.heat_colours import first_shown, heat_colours

if TYPE_CHECKING:
    from napari_mtlpath.inference.heatmap import Heatmap, Placement
    from napari_mtlpath.tasks import AnyTask

TRANSPARENT = (0.0, 0.0, 0.0, 0.0)

HEATMAP_KEY = "mtlpath_task"
"""Where the metadata of a heatmap's layer holds the name of its task."""


def threshold_colormap(name: str, *, start: float = 0.0) -> Colormap:
    """Return a colour map that is see-through at its lower end, and leaves unknown and hidden tiles out.

    It has a name of its own: napari keeps colour maps by name, for all layers of all plugins.

    Parameters
    ----------
    name
        One of :data:`napari_mtlpath.session.overlay.COLORMAPS`.
    start
        With which share of the scale the colours begin; see :func:`napari_mtlpath.viewer.heat_colours.first_shown`.
    """
    part = f", from {start:.1%}" if start else ""
    return Colormap(
        heat_colours(name, start=start), name=f"{name} (tiles{part})", low_color=TRANSPARENT, nan_color=TRANSPARENT
    )


def _is_own(colormap: Colormap) -> bool:
    """Whether a layer's colour map is one of ours, and not the user's choice in napari's controls."""
    return " (tiles" in colormap.name


def limits(scale: ColourScale, threshold: float) -> tuple[float, float]:
    """Return contrast limits that hide what lies below the threshold; the first is always below the second."""
    low = max(scale.low, threshold)
    return low, max(scale.high, float(np.nextafter(np.float32(low), np.float32(np.inf))))


class HeatmapLayer:
    """The layer of one task's heatmap.

    Changes that the user makes in napari's own controls stay: a property is set only when the choice of it changed.

    Parameters
    ----------
    task
        The task.
    heatmap, where, units
        What to show first, where it lies, and the world units of the slide's layer.
    choice
        How to show it.
    """

    def __init__(
        self, task: "AnyTask", heatmap: "Heatmap", *, where: "Placement", units: tuple[str, str], choice: OverlayChoice
    ) -> None:
        self.task = task
        self.heatmap = heatmap
        self._values: NDArray[np.float32] = heatmap.values.copy()
        self._where = where
        self._choice = choice
        self._scale = colour_scale(choice.kind, task, heatmap)
        self.layer = Image(
            self._values,
            name=self._name(choice),
            colormap=self._colormap(),
            contrast_limits=limits(self._scale, choice.threshold),
            interpolation2d="nearest",  # linear interpolation would bleed unknown tiles into their neighbours
            blending="translucent",
            opacity=choice.opacity,
            visible=choice.visible,
            cache=False,
            scale=where.scale,
            translate=where.translate,
            units=units,
            axis_labels=("y", "x"),
            metadata={HEATMAP_KEY: task.name},
        )

    @property
    def scale(self) -> ColourScale:
        """What the colours stand for."""
        return self._scale

    def choose(self, choice: OverlayChoice) -> None:
        """Show the heatmap as chosen."""
        before, self._choice = self._choice, choice
        if choice.opacity != before.opacity:
            self.layer.opacity = choice.opacity
        if choice.kind != before.kind:
            self.layer.name = self._name(choice)
        if choice.colormap != before.colormap:
            self.layer.colormap = self._colormap()
        if (choice.threshold, choice.kind) != (before.threshold, before.kind):
            self._hide_below()

    def show(self, heatmap: "Heatmap", *, where: "Placement") -> None:
        """Take the values of a newer heatmap."""
        if heatmap is self.heatmap:
            return
        self.heatmap = heatmap
        if heatmap.values.shape == self._values.shape:
            self._values[:] = heatmap.values
            self.layer.refresh(extent=False, thumbnail=False, highlight=False)
        else:
            self._values = heatmap.values.copy()
            self.layer.data = self._values
        if where != self._where:
            self._where = where
            self.layer.scale, self.layer.translate = where.scale, where.translate
        scale = colour_scale(self._choice.kind, self.task, heatmap)
        if scale != self._scale:
            self._scale = scale
            self._hide_below()

    def value_at(self, position: Any) -> float | None:  # noqa: ANN401 - a world position as napari gives it
        """Return the raw value under a world position: NaN where the tile is not analysed, None outside."""
        row, column = np.round(self.layer.world_to_data(position)[-2:]).astype(int)
        rows, columns = self._values.shape
        return float(self._values[row, column]) if 0 <= row < rows and 0 <= column < columns else None

    def words_at(self, position: Any) -> str:  # noqa: ANN401 - a world position as napari gives it
        """Return the value under a world position in words, or an empty text where there is no tile."""
        value = self.value_at(position)
        if value is None:
            return ""
        if value != value:  # NaN: not analysed yet, or not tissue
            return f"{self.layer.name}: not analysed"
        return f"{self.layer.name}: {value:.3g} {self._scale.unit}".rstrip()

    def _hide_below(self) -> None:
        """Hide what lies below the threshold; the rest keeps its colours, unless the user chose others in napari."""
        self.layer.contrast_limits = limits(self._scale, self._choice.threshold)
        colormap = self._colormap()
        if _is_own(self.layer.colormap) and self.layer.colormap.name != colormap.name:
            self.layer.colormap = colormap

    def _colormap(self) -> Colormap:
        share = self._scale.fraction(self._choice.threshold)
        return threshold_colormap(self._choice.colormap, start=first_shown(share))

    def _name(self, choice: OverlayChoice) -> str:
        return f"{task_title(self.task)}: {choice.kind.value}"

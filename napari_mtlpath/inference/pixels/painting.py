"""What of a pixel model's answers can be painted over the slide, and what it says at a place."""

from dataclasses import dataclass
from enum import StrEnum

from napari_mtlpath.inference.pixels.lattice import HALVINGS
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.planes import FULL
from napari_mtlpath.tasks import PixelRegression, Segmentation


class PaintKind(StrEnum):
    """What is painted pixel by pixel.

    `CLASSES`: the most probable class of a segmentation. `PROBABILITY`: the probability of one of its classes.
    `PREDICTION`: the value of a pixel regression. `CROSS_TASK`: what a task offers the other tasks of its network, 0 to
    1 (the mean over channels of its finest attention map).
    """

    CLASSES = "classes"
    PROBABILITY = "probability"
    PREDICTION = "prediction"
    CROSS_TASK = "cross-task"


@dataclass(frozen=True, kw_only=True)
class PixelPainting:
    """The answers of a pixel model as something to look at; they grow while it is looked at.

    Attributes
    ----------
    maps
        The answers.
    attention
        Maps of attention, for the tiles where somebody looked at them; None for networks without.
    version
        Of all of it when this was made: equal where nothing was added.
    """

    maps: PixelMaps
    attention: PixelMaps | None = None
    version: int

    @property
    def offered(self) -> set[tuple[str, str]]:
        """What there is: (task name, kind)."""
        attentive = self.attention.planes.attentive if self.attention is not None else ()
        there = {(name, PaintKind.CROSS_TASK.value) for name in attentive}
        for task in self.maps.planes.pixel_tasks:
            if isinstance(task, Segmentation):
                there |= {(task.name, PaintKind.CLASSES.value), (task.name, PaintKind.PROBABILITY.value)}
            else:
                there.add((task.name, PaintKind.PREDICTION.value))
        return there

    def maps_of(self, kind: PaintKind) -> PixelMaps:
        """Return where a kind of picture is kept."""
        if kind is not PaintKind.CROSS_TASK:
            return self.maps
        if self.attention is None:
            raise KeyError("This model's tasks do not attend to each other.")
        return self.attention

    def plane(self, task: str, kind: PaintKind, *, shown_class: str | None = None) -> int:
        """Return the plane of a blended core that shows a task.

        Parameters
        ----------
        task, kind
            One of :attr:`offered`.
        shown_class
            Of a segmentation whose probability is shown; the first class after the background where None or unknown.
        """
        planes = self.maps_of(kind).planes
        match kind:
            case PaintKind.CLASSES:
                return planes.labels(task)
            case PaintKind.CROSS_TASK:
                return planes.attention(task)
            case PaintKind.PREDICTION:
                return planes.first(task)
            case PaintKind.PROBABILITY:
                return planes.first(task) + class_number(self.segmentation(task), shown_class)

    def segmentation(self, task: str) -> Segmentation:
        """Return a segmentation by name; raise KeyError where there is none."""
        for each in self.maps.planes.segmentations:
            if each.name == task:
                return each
        raise KeyError(f"Task {task!r} is no segmentation of this model.")

    def words_at(self, task: str, kind: PaintKind, y: float | int, x: float | int) -> str:
        """Return what a task says at a place in level-0 pixels, in words."""
        maps = self.maps_of(kind)
        found = bytes_at(maps, y, x)
        if found is None:
            return "not analysed"
        planes = maps.planes
        if kind is PaintKind.CROSS_TASK:
            return f"{found[planes.attention(task)] / FULL:.2f}"
        described = next(each for each in planes.pixel_tasks if each.name == task)
        if isinstance(described, PixelRegression):
            value = described.low + found[planes.first(task)] / FULL * (described.high - described.low)
            return f"{value:.3g} {described.unit}".rstrip()
        number = found[planes.labels(task)]
        return f"{described.classes[number]}, probability {found[planes.first(task) + number] / FULL:.2f}"


def bytes_at(maps: PixelMaps, y: float | int, x: float | int) -> list[int] | None:
    """Return all planes' bytes at a place in level-0 pixels, or None where nothing is analysed. Never waits.

    The slide's first pixel is centred at 0. Where memory has let go of the core, the overview answers.
    """
    place = maps.lattice.pixel_at(y, x)
    if place is None:
        return None
    lattice = maps.lattice
    row, column = place[0] // lattice.core_px, place[1] // lattice.core_px
    if not maps.known[row, column]:
        return None
    core = maps.core(lattice.grid.index(row, column), 0)
    if core is not None:
        return core[:, place[0] % lattice.core_px, place[1] % lattice.core_px].tolist()
    return maps.overview[:, place[0] >> HALVINGS, place[1] >> HALVINGS].tolist()


def class_number(task: Segmentation, shown: str | None) -> int:
    """Return the number of a class by name; that of the first one after the background where there is none."""
    return task.classes.index(shown) if shown in task.classes else 1

"""How many labels there are, whether they are enough, and what to do next, in words."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.review.tile_labels import Labels
from napari_mtlpath.training.teaching.lesson import FEW, IMBALANCE

ENOUGH = 2 * FEW
"""Labels of each class that a beginner is asked for: half of them may serve to judge the other half."""

ORIGIN_WORDS = {
    Origin.REGION: "tiles in regions",
    Origin.TILE: "tiles clicked",
    Origin.GALLERY: "tiles from the gallery",
    Origin.SLIDE: "whole slides",
    Origin.TABLE: "slides from a table",
    Origin.FILE: "tiles from a file",
}

WHOLE_SLIDES = (Origin.SLIDE, Origin.TABLE)


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """How many labels of which value came from where.

    Attributes
    ----------
    per_origin
        Origin -> value -> number.
    slides
        Number of slides with any label.
    """

    per_origin: dict[Origin, Counter[float]]
    slides: int

    @property
    def tiles(self) -> Counter[float]:
        """Labels of tiles, by value."""
        return self._sum(slides=False)

    @property
    def whole_slides(self) -> Counter[float]:
        """Labels of whole slides, by value."""
        return self._sum(slides=True)

    @property
    def total(self) -> int:
        """Number of all labels."""
        return sum(count.total() for count in self.per_origin.values())

    def _sum(self, *, slides: bool) -> Counter[float]:
        found: Counter[float] = Counter()
        for origin, count in self.per_origin.items():
            if (origin in WHOLE_SLIDES) is slides:
                found += count
        return found


def count_labels(slides: Sequence[Labels]) -> LabelCounts:
    """Count the labels of all slides together."""
    per_origin: dict[Origin, Counter[float]] = {}
    for labels in slides:
        for origin, count in labels.per_origin().items():
            per_origin.setdefault(origin, Counter()).update(count)
    ordered = {origin: per_origin[origin] for origin in Origin if origin in per_origin}
    return LabelCounts(per_origin=ordered, slides=sum(bool(labels.per_origin()) for labels in slides))


def warnings_for(draft: TaskDraft, slides: Sequence[Labels]) -> tuple[str, ...]:
    """Return what is wrong or weak about the labels, one sentence each; none where they are fit to teach from."""
    counts = count_labels(slides)
    if counts.total == 0:
        return ()
    said = _too_few(draft, counts) + _lopsided(draft, counts)
    contradicted = sum(len(labels.contradicted) for labels in slides)
    if contradicted:
        tiles = "1 tile was" if contradicted == 1 else f"{contradicted} tiles were"
        said.append(f"{tiles} labelled twice with different answers; the later one holds. Undo takes it back.")
    foreign = sum(labels.foreign for labels in slides)
    if foreign:
        said.append(
            f"{foreign} labelled tiles have another size than this model's and are left out; they come back with the "
            "model that they were made for."
        )
    return tuple(said)


def next_step(draft: TaskDraft | None, slides: Sequence[Labels], *, slide: bool, model: bool) -> str:
    """Tell somebody who does this for the first time what to do next.

    Parameters
    ----------
    draft
        The task that is taught, or None.
    slides
        Labels of all slides.
    slide, model
        Whether a slide is open and a model loaded.
    """
    if not slide:
        return "Open a slide first: its tiles are what you label."
    if not model:
        return "Load a model first: the new task becomes a part of it, and its tiles are what you label."
    if draft is None:
        return "Press 'New task…' and say what the model should learn, for example 'Eosinophils'."
    counts = count_labels(slides)
    if counts.total == 0:
        return (
            f"Choose an answer below, then click tiles on the slide or draw around tissue that shows it. "
            f"Label some {ENOUGH} tiles of each answer."
        )
    if draft.kind is TaskKind.REGRESSION:
        few = counts.tiles.total() < 2 * ENOUGH and counts.whole_slides.total() < ENOUGH
        more = f"Label tiles with low and with high values, {2 * ENOUGH} or more."
    else:
        missing = [name for value, name in enumerate(draft.classes) if not counts.tiles[value]]
        few = bool(missing) or min(counts.tiles[value] for value in range(len(draft.classes))) < ENOUGH
        more = (
            f"Label tiles that are {missing[0]!r} too."
            if missing
            else "Label some more; 'Suggest tiles' finds good ones."
        )
        few = few and not _slides_suffice(draft, counts)
    if few:
        return more
    return "Enough to start: open the Fine-tune section and press Start. You can go on labelling meanwhile."


def _slides_suffice(draft: TaskDraft, counts: LabelCounts) -> bool:
    return all(counts.whole_slides[value] >= ENOUGH for value in range(len(draft.classes)))


def _too_few(draft: TaskDraft, counts: LabelCounts) -> list[str]:
    if draft.kind is TaskKind.REGRESSION:
        values = counts.tiles + counts.whole_slides
        if len(values) < 2:
            return ["All labels have the same value, from which nothing can be learned. Label others too."]
        few = counts.total < ENOUGH
        return [f"{counts.total} labels are few for a number; {2 * ENOUGH} or more are better."] if few else []
    said = []
    for value, name in enumerate(draft.classes):
        tiles, slides = counts.tiles[value], counts.whole_slides[value]
        if tiles + slides == 0:
            said.append(f"No label is {name!r} yet: without any, the model cannot learn the difference.")
        elif tiles < FEW and slides < FEW:
            number = _number(tiles, "tile") if tiles else _number(slides, "slide")
            said.append(f"{number} labelled {name!r}: few; {FEW} are the least, {ENOUGH} or more are better.")
    return said


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _lopsided(draft: TaskDraft, counts: LabelCounts) -> list[str]:
    if draft.kind is TaskKind.REGRESSION:
        return []
    present = [(counts.tiles[value], name) for value, name in enumerate(draft.classes) if counts.tiles[value]]
    if len(present) < 2:
        return []
    (fewest, rare), (most, common) = min(present), max(present)
    if most <= IMBALANCE * fewest:
        return []
    return [
        f"{most} tiles are {common!r} and only {fewest} are {rare!r}: label more of the rare ones, or the model tends "
        "to miss them."
    ]

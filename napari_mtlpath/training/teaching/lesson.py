"""What a model is taught from: one task, and cached bags with labels of tiles and of whole slides."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.tasks import UNKNOWN_LABEL, Classification, Task

if TYPE_CHECKING:
    from napari_mtlpath.training.end_to_end.tiles import TilePool

FEW = 5
"""Labels of a class below which nothing reliable can be learned or judged."""

IMBALANCE = 20
"""How many times rarer than the most frequent class a class may be before that is said."""


@dataclass(frozen=True, kw_only=True, eq=False)
class TaughtBag:
    """One slide's cached embeddings, and what is known about its tiles and about the slide.

    Attributes
    ----------
    name
        What a person calls the slide.
    fingerprint
        The slide's fingerprint: its identity.
    features
        Embeddings, float32 [tile, feature].
    positions
        Row and column of each tile on the slide's grid, integers [tile, 2].
    tile_labels
        Class index, or value of a regression, of each tile; NaN where unknown, [tile].
    label
        The same for the whole slide; NaN where unknown.
    origins
        How many of the labels came from where, such as ``{"region": 40, "tile": 6}``.
    centres_um
        Centres of the tiles in microns as (y, x), [tile, 2], for aggregators that read positions; None where unknown.
    numbers, grid
        The tiles' numbers on the slide's grid, [tile], and what identifies that grid; None and empty where the slide is
        known by its features only.
    pixels
        Where tile `numbers[n]` of the slide is read; None where nobody asked for pixels, or there are none.
    """

    name: str
    fingerprint: str
    features: NDArray[np.float32]
    positions: NDArray[np.integer]
    tile_labels: NDArray[np.floating]
    label: float = UNKNOWN_LABEL
    origins: Mapping[str, int] = field(default_factory=dict)
    centres_um: NDArray[np.floating] | None = None
    numbers: NDArray[np.int64] | None = None
    grid: str = ""
    pixels: "TilePool | None" = None

    def __post_init__(self) -> None:
        count = len(self.features)
        if self.features.ndim != 2 or count == 0:
            raise ValueError(
                f"Slide {self.name!r} needs embeddings [tile, feature] of at least one tile; found the shape "
                f"{self.features.shape}. Let the model see the slide first."
            )
        shapes = (self.positions.shape, self.tile_labels.shape)
        centres = (count, 2) if self.centres_um is None else self.centres_um.shape
        if shapes != ((count, 2), (count,)) or centres != (count, 2):
            raise ValueError(
                f"Slide {self.name!r} has {count} tiles; expected positions [{count}, 2] and labels [{count}], found "
                f"{shapes[0]} and {shapes[1]}."
            )
        if self.numbers is not None and self.numbers.shape != (count,):
            raise ValueError(f"Slide {self.name!r} has {count} tiles; found {len(self.numbers)} numbers of tiles.")
        if not np.isfinite(self.features).all():
            raise ValueError(f"An embedding of slide {self.name!r} is not finite. Let the model see the slide again.")

    @property
    def is_labelled(self) -> NDArray[np.bool_]:
        """Which tiles have a label, [tile]."""
        return ~np.isnan(self.tile_labels)

    def ordered(self) -> "TaughtBag":
        """Return the bag with its tiles by row and then column, however they were learned."""
        return self.at(np.lexsort((self.positions[:, 1], self.positions[:, 0])))

    def at(self, places: NDArray[np.integer]) -> "TaughtBag":
        """Return the bag with the tiles at these places, in their order."""
        return replace(
            self,
            features=self.features[places],
            positions=self.positions[places],
            tile_labels=self.tile_labels[places],
            centres_um=None if self.centres_um is None else self.centres_um[places],
            numbers=None if self.numbers is None else self.numbers[places],
        )


@dataclass(frozen=True, kw_only=True)
class LabelCounts:
    """How many labels there are: of tiles and of slides by class (a regression's under ``"value"``), and by origin."""

    tiles: Mapping[str, int]
    slides: Mapping[str, int]
    origins: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """What is wrong with a lesson, in one sentence; a fatal one must be cured before anything can be taught."""

    sentence: str
    fatal: bool


@dataclass(frozen=True, kw_only=True, eq=False)
class Lesson:
    """A task and the bags that it is taught from.

    Examples
    --------
    >>> bag = TaughtBag(
    ...     name="a", fingerprint="1", features=np.zeros((2, 3), np.float32), positions=np.array([[0, 0], [0, 1]]),
    ...     tile_labels=np.array([1.0, 0.0]), origins={"tile": 2},
    ... )
    >>> lesson = Lesson(task=Classification(name="mitoses"), bags=(bag,))
    >>> lesson.counts().tiles
    {'absent': 1, 'present': 1}
    >>> any(problem.fatal for problem in lesson.problems())
    False
    """

    task: Task
    bags: tuple[TaughtBag, ...]

    def counts(self) -> LabelCounts:
        """Return how many labels there are of each class and from where."""
        origins: Counter[str] = Counter()
        for bag in self.bags:
            origins.update(bag.origins)
        slides = np.array([bag.label for bag in self.bags], dtype=np.float64)
        return LabelCounts(tiles=self._by_class(self._tile_labels()), slides=self._by_class(slides), origins=origins)

    def problems(self) -> tuple[Problem, ...]:
        """Return what stands in the way of teaching, the fatal first, and what should be known before."""
        found = [Problem(sentence=sentence, fatal=True) for sentence in self._fatal()]
        return (*found, *(Problem(sentence=sentence, fatal=False) for sentence in ([] if found else self._warnings())))

    def ordered(self) -> "Lesson":
        """Return the lesson with bags by fingerprint and tiles by place: equal labels give equal weights."""
        bags = sorted((bag.ordered() for bag in self.bags), key=lambda bag: bag.fingerprint)
        return replace(self, bags=tuple(bags))

    def digest(self) -> str:
        """Return the SHA-256 (hex) over the task, the labels and the embeddings, whatever their order and names."""
        digest = hashlib.sha256(json.dumps(asdict(self.task), sort_keys=True).encode())
        for bag in self.ordered().bags:
            digest.update(f"|{bag.fingerprint}|{bag.label}|{bag.features.shape}|".encode())
            digest.update(np.ascontiguousarray(bag.positions, dtype="<i8").tobytes())
            digest.update(np.ascontiguousarray(bag.tile_labels, dtype="<f8").tobytes())
            digest.update(np.ascontiguousarray(bag.features, dtype="<f4").tobytes())
        return digest.hexdigest()

    def _tile_labels(self) -> NDArray[np.float64]:
        parts = [bag.tile_labels[bag.is_labelled].astype(np.float64) for bag in self.bags]
        return np.concatenate(parts) if parts else np.empty(0)

    def _by_class(self, labels: NDArray[np.float64]) -> dict[str, int]:
        known = labels[~np.isnan(labels)]
        if not isinstance(self.task, Classification):
            return {"value": len(known)}
        return {name: int((known == index).sum()) for index, name in enumerate(self.task.classes)}

    def _fatal(self) -> Iterator[str]:
        task, counts = self.task.name, self.counts()
        slides = np.array([bag.label for bag in self.bags], dtype=np.float64)
        every = np.concatenate([self._tile_labels(), slides])
        if np.isnan(every).all():
            yield f"Task {task!r} has no label yet. Label some tiles, or whole slides."
            return
        yield from self._contradictions()
        if not isinstance(self.task, Classification):
            if not self._has_two(self._tile_labels()) and not self._has_two(slides):
                yield f"All labels of task {task!r} are the same value: nothing can be learned. Label other values too."
            return
        valid = range(len(self.task.classes))
        strange = sorted({float(value) for value in every[~np.isnan(every)]} - {float(index) for index in valid})
        if strange:
            yield f"Labels of task {task!r} must be 0 to {len(valid) - 1}, one per class; found {strange[0]:g}."
            return
        for name in self.task.classes:
            if not counts.tiles[name] and not counts.slides[name]:
                yield f"Task {task!r} has no label of class {name!r}: there is nothing to tell apart. Label some."

    def _contradictions(self) -> Iterator[str]:
        repeated = [name for name, count in Counter(bag.fingerprint for bag in self.bags).items() if count > 1]
        for fingerprint in repeated:
            name = next(bag.name for bag in self.bags if bag.fingerprint == fingerprint)
            yield f"Slide {name!r} is given more than once. Give each slide once, with all of its labels."
        if not (isinstance(self.task, Classification) and self.task.is_binary):
            return
        absent, present = self.task.classes
        for bag in self.bags:
            found = int((bag.tile_labels == 1).sum())
            if bag.label == 0 and found:
                yield (
                    f"Slide {bag.name!r} is labelled {absent!r} as a whole, but {found} of its tiles {present!r}. "
                    "Correct one of the two."
                )

    def _warnings(self) -> Iterator[str]:
        if not isinstance(self.task, Classification):
            return
        counts = self.counts()
        for noun, by_class in (("tiles", counts.tiles), ("slides", counts.slides)):
            if not any(by_class.values()):
                continue
            few = {name: count for name, count in by_class.items() if count < FEW and (count or noun == "tiles")}
            for name, count in few.items():
                yield (
                    f"Only {count} {noun if count != 1 else noun[:-1]} labelled {name!r}: label at least {FEW} before "
                    "trusting the result."
                )
            most, least = max(by_class.values()), min(by_class.values())
            if least and most > IMBALANCE * least:
                rare = min(by_class, key=lambda name: by_class[name])
                yield f"Class {rare!r} has {least} of the labelled {noun} and another {most}: more {rare!r} would help."

    def _has_two(self, labels: NDArray[np.float64]) -> bool:
        return len(np.unique(labels[~np.isnan(labels)])) > 1

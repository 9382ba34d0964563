"""All that a pixel model says about a slide: its answers, and its attention where somebody looked at it."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.inference.pixels.answering import Answered
from napari_mtlpath.inference.pixels.lattice import Lattice
from napari_mtlpath.inference.pixels.maps import PixelMaps
from napari_mtlpath.inference.pixels.planes import Planes
from napari_mtlpath.inference.pixels.window_file import WindowFile


class SlideMaps:
    """Answers of a pixel model for a slide, and beside them maps of attention for the tiles where they were wanted.

    Attention is two planes of five for two tasks: where nobody looks at it, it is neither computed nor kept.

    Parameters
    ----------
    answers
        The answers to all tasks.
    attention
        The maps of attention on the same lattice; None for networks without.
    """

    def __init__(self, answers: PixelMaps, attention: PixelMaps | None) -> None:
        self.answers = answers
        self.attention = attention

    @classmethod
    def fleeting(cls, folder: Path, *, key: str, lattice: Lattice, planes: Planes, budget: int) -> "SlideMaps":
        """Make empty maps for all `planes`, whose files in a folder have no name and go with them.

        The `budget` of memory is shared in proportion to the planes.
        """

        def made(some: Planes) -> PixelMaps:
            file = WindowFile.fleeting(folder, key=key, lattice=lattice, planes=some)
            return PixelMaps(lattice, some, file=file, budget=budget * some.count // max(planes.count, 1))

        return cls(made(planes.answers), made(planes.explanations) if planes.attentive else None)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of windows on disk."""
        return sum(maps.bytes_on_disk for maps in self._all)

    def known(self, *, explained: bool) -> NDArray[np.int64]:
        """Return the tiles that are answered, ascending; `explained`: those whose attention is known, too."""
        known = self.answers.known
        if explained and self.attention is not None:
            known = known & self.attention.known
        return np.flatnonzero(known).astype(np.int64)

    def questions(self, indices: Sequence[int], *, explained: bool) -> list[tuple[Planes, list[int]]]:
        """Return what is to be asked about some tiles: planes, and places in `indices`.

        Parameters
        ----------
        indices
            Tiles that are not :meth:`known`.
        explained
            Whether attention is wanted. Of a tile that is answered already it is all that is asked for.
        """
        answers, attention = self.answers.planes, self.attention
        if not explained or attention is None:
            return [(answers, list(range(len(indices))))]
        answered = [bool(self.answers.known.flat[index]) for index in indices]
        both = Planes(tasks=answers.tasks, attentive=attention.planes.attentive)
        found: list[tuple[Planes, list[int]]] = []
        for planes, before in ((both, False), (attention.planes, True)):
            places = [place for place, known in enumerate(answered) if known is before]
            found += [(planes, places)] if places else []
        return found

    def add(self, indices: Sequence[int], planes: Planes, said: Answered) -> None:
        """Take what was said about some tiles, laid out as `planes`, one of those of :meth:`questions`.

        Raises
        ------
        OSError
            If the disk is full.
        """
        first = planes.answers.count
        if planes.tasks:
            self.answers.add(indices, said.windows[:, :first], said.numbers)
        if planes.attentive and self.attention is not None:
            self.attention.add(indices, said.windows[:, first:], said.numbers[:, :0])

    def finish(self, indices: Iterable[int] | None = None) -> None:
        """Blend the cores, all or some, that are shown as they came because neighbours were still missing."""
        chosen = None if indices is None else list(indices)
        for maps in self._all:
            maps.finish(chosen)

    def clear(self) -> None:
        """Forget everything."""
        for maps in self._all:
            maps.clear()

    def rest(self) -> None:
        """Let go of memory, but for the overviews, until :meth:`wake`; the files stay."""
        for maps in self._all:
            maps.rest()

    def wake(self) -> None:
        """Bring back what is wanted again."""
        for maps in self._all:
            maps.wake()

    def close(self) -> None:
        """Let go of memory and files. Closing twice is harmless; nothing is found any more."""
        for maps in self._all:
            maps.close()

    @property
    def _all(self) -> list[PixelMaps]:
        return [self.answers] if self.attention is None else [self.answers, self.attention]

"""Simulated smears: real cells arranged on a grid, with slide-level shares that vary independently."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.simulation.cells import CellSet
from napari_mtlpath.units import MicronsPerPixel

NOMINAL_MPP = MicronsPerPixel(0.375)  # a cell of 96 px is said to be 36 um wide; no pixel size is published
TURNS = 8
"""Ways to lay a square down: four turns, each also mirrored."""

WITNESS = "Basophil"


@dataclass(frozen=True, kw_only=True)
class SmearSpec:
    """What a simulated smear holds.

    Attributes
    ----------
    rows, columns
        Cells down and across.
    witness
        Cell type whose presence is asked for.
    witness_rate
        Share of the cells that are of that type; above 0 at least one cell is.
    neutrophil_share, vacuolated_share
        Share of the cells that are neutrophils, and of those with a vacuolated cytoplasm (no witness among them).
    seed
        Of everything that these shares leave open: which cells, how they are turned, where they lie, and how the other
        types share the rest.
    """

    rows: int = 36
    columns: int = 36
    witness: str = WITNESS
    witness_rate: float = 0.02
    neutrophil_share: float = 0.4
    vacuolated_share: float = 0.08
    seed: int = 0

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ValueError(f"A smear needs rows and columns of at least 1; found {self.rows} x {self.columns}.")
        shares = (self.witness_rate, self.neutrophil_share, self.vacuolated_share)
        if min(shares) < 0 or sum(shares) > 1:
            raise ValueError(f"The shares of a smear must be at least 0 and sum to at most 1; found {shares}.")

    @property
    def cells(self) -> int:
        """Number of cells."""
        return self.rows * self.columns

    @property
    def witnesses(self) -> int:
        """Number of witness cells."""
        return max(1, round(self.witness_rate * self.cells)) if self.witness_rate > 0 else 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Smear:
    """Which cell lies where on a simulated smear: its cell-level truth.

    Attributes
    ----------
    spec
        What was asked for.
    cells
        Row of the `CellSet` that it was composed from, per grid position, [row, column].
    turns
        How each cell is laid down, 0 to 7: quarter turns, from 4 on mirrored first, [row, column].
    is_witness, is_neutrophil, is_vacuolated
        What each cell is, [row, column].
    """

    spec: SmearSpec
    cells: NDArray[np.int64]
    turns: NDArray[np.int64]
    is_witness: NDArray[np.bool_]
    is_neutrophil: NDArray[np.bool_]
    is_vacuolated: NDArray[np.bool_]

    @property
    def witness_rate(self) -> float:
        """Share of witness cells."""
        return float(self.is_witness.mean())

    @property
    def neutrophil_share(self) -> float:
        """Share of neutrophils."""
        return float(self.is_neutrophil.mean())

    @property
    def vacuolated_share(self) -> float:
        """Share of vacuolated cells."""
        return float(self.is_vacuolated.mean())


class Composer:
    """Composes smears from one set of cells; give it one side of a split only.

    Raises
    ------
    ValueError
        If the set lacks neutrophils, vacuolated cells or other cells.
    """

    def __init__(self, cells: CellSet, *, witness: str = WITNESS) -> None:
        self.witness = witness
        self.is_witness = cells.is_class("cell_type", witness)
        self.is_neutrophil = cells.is_class("cell_type", "Neutrophil") & ~self.is_witness
        self.is_vacuolated = cells.is_class("cytoplasm_vacuole", "yes")
        plain = cells.is_class("cytoplasm_vacuole", "no")
        types = cells.column("cell_type")
        others = ~self.is_witness & ~self.is_neutrophil & plain
        self._witnesses = np.flatnonzero(self.is_witness & plain)
        self._neutrophils = np.flatnonzero(self.is_neutrophil & plain)
        self._vacuolated = np.flatnonzero(self.is_vacuolated & ~self.is_witness & ~self.is_neutrophil)
        self._vacuolated_neutrophils = np.flatnonzero(self.is_vacuolated & self.is_neutrophil)
        self._others = [np.flatnonzero(others & (types == each)) for each in np.unique(types[others])]
        if not (self._neutrophils.size and self._vacuolated.size and self._others):
            raise ValueError(
                "Expected neutrophils, vacuolated cells and others to compose smears from; found some lacking."
            )

    def compose(self, spec: SmearSpec) -> Smear:
        """Compose the smear that `spec` describes; the same spec gives the same smear.

        Every cell of a kind is used once before any is used twice, and is then turned differently.

        Raises
        ------
        ValueError
            If witnesses are asked for and there is none, or the spec names another witness.
        """
        if spec.witness != self.witness or (spec.witnesses and not self._witnesses.size):
            raise ValueError(f"Expected witnesses of type {self.witness!r}; found {spec.witness!r} or no such cell.")
        random = np.random.default_rng(spec.seed)
        chosen, turns = (np.concatenate(parts) for parts in zip(*self._draw(spec, random), strict=True))
        order = random.permutation(spec.cells)
        shape = (spec.rows, spec.columns)
        cells, turns = chosen[order].reshape(shape), turns[order].reshape(shape)
        return Smear(
            spec=spec,
            cells=cells,
            turns=turns,
            is_witness=self.is_witness[cells],
            is_neutrophil=self.is_neutrophil[cells],
            is_vacuolated=self.is_vacuolated[cells],
        )

    def _draw(
        self, spec: SmearSpec, random: np.random.Generator
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        neutrophils = round(spec.neutrophil_share * spec.cells)
        vacuolated = round(spec.vacuolated_share * spec.cells)
        natural = self._vacuolated_neutrophils.size / (self._vacuolated_neutrophils.size + self._vacuolated.size)
        both = min(round(natural * vacuolated), neutrophils)
        rest = spec.cells - spec.witnesses - neutrophils - (vacuolated - both)
        mixture = random.multinomial(rest, random.dirichlet(np.ones(len(self._others))))
        yield draw_cells(self._witnesses, spec.witnesses, random)
        yield draw_cells(self._vacuolated_neutrophils, both, random)
        yield draw_cells(self._neutrophils, neutrophils - both, random)
        yield draw_cells(self._vacuolated, vacuolated - both, random)
        for pool, count in zip(self._others, mixture, strict=True):
            yield draw_cells(pool, int(count), random)


def draw_cells(
    pool: NDArray[np.int64], count: int, random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Draw `count` cells and their turns: each cell once before any twice, and no turn of it twice before all eight."""
    if not count:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    passes = -(-count // len(pool))
    orders = [random.permutation(len(pool)) for _ in range(passes)]
    first = random.integers(0, TURNS, len(pool))
    turns = [(first[order] + 3 * number) % TURNS for number, order in enumerate(orders)]  # 3 and 8 share no factor
    return pool[np.concatenate(orders)[:count]], np.concatenate(turns)[:count]


def turned(image: NDArray[np.uint8], turn: int) -> NDArray[np.uint8]:
    """Return a square image [y, x, 3] laid down in way `turn`, 0 to 7."""
    return np.rot90(image[:, ::-1] if turn >= TURNS // 2 else image, turn % 4)

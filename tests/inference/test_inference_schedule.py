import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.inference.schedule import Schedule
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, SlidePixels, TilePixels

ROWS, COLUMNS, SIDE = 12, 15, 10


def grid() -> TileGrid:
    return TileGrid(
        slide_height=SlidePixels(ROWS * SIDE),
        slide_width=SlidePixels(COLUMNS * SIDE),
        side=SlidePixels(SIDE),
        mpp=(1.0, 1.0),
        spec=TileSpec(tile_um=Microns(10.0), tile_px=TilePixels(16)),
    )


def view_of(row: int, column: int, rows: int = 3, columns: int = 3):
    return (float(row * SIDE), float(column * SIDE), float((row + rows) * SIDE), float((column + columns) * SIDE))


def next_tile(schedule: Schedule, settled: np.ndarray, now: float) -> int | None:
    ordering = schedule.ask(settled, now)
    if ordering is not None:
        schedule.accept(ordering, ordering.answer())
    return schedule.take(settled)


actions = st.lists(
    st.one_of(
        st.tuples(st.just("look"), st.integers(-2, ROWS), st.integers(-2, COLUMNS)),
        st.tuples(st.just("take"), st.integers(1, 9)),
        st.tuples(st.just("settle"), st.integers(0, 5)),
        st.tuples(st.just("drop"), st.integers(0, 5)),
        st.tuples(st.just("wait"), st.integers(0, 3)),
    ),
    max_size=60,
)


class Play:
    """Plays readers and encoder against a schedule and checks what every step must hold."""

    def __init__(self, tissue: np.ndarray) -> None:
        self.tissue = tissue.ravel()
        self.settled = np.zeros(ROWS * COLUMNS, bool)
        self.now = 0.0
        self.schedule = Schedule(grid(), tissue, idle_after=2.0, now=0.0)
        self.held: list[int] = []

    def look(self, row: int, column: int) -> None:
        self.schedule.look_at(view_of(row, column), self.now)

    def take(self, count: int) -> int:
        taken = 0
        for _ in range(count):
            index = next_tile(self.schedule, self.settled, self.now)
            if index is not None:
                assert not self.settled[index]
                assert index not in self.held
                assert self.tissue[index]
                self.held.append(index)
                taken += 1
        return taken

    def settle(self, count: int) -> None:
        for index in self.held[:count]:
            self.settled[index] = True
        self.release(count)

    def release(self, count: int) -> None:
        for index in self.held[:count]:
            self.schedule.release(index)
        del self.held[:count]

    def drop(self, count: int) -> None:
        """Let go, unsettled, of what the present view does not want: a wanted tile is never dropped."""
        for index in [index for index in self.held if not self.schedule.wants(index)][:count]:
            self.schedule.release(index)
            self.held.remove(index)

    def wait(self, seconds: int) -> None:
        self.now += seconds

    def finish(self) -> None:
        self.settle(len(self.held))
        while self.take(1):
            self.settle(1)


@given(actions, st.integers(0, 2**32 - 1))
def test_whatever_happens_no_tile_is_taken_twice_and_none_is_forgotten(actions, seed):
    play = Play(np.random.default_rng(seed).random((ROWS, COLUMNS)) < 0.7)
    for action, *numbers in actions:
        getattr(play, action)(*numbers)
        assert play.schedule.pending == len(play.held)
    play.look(4, 4)
    play.finish()
    known, total = play.schedule.visible(play.settled)
    assert known == total
    play.wait(2)
    play.finish()
    assert play.settled[play.tissue].all()


def test_tile_dropped_for_another_view_is_taken_again_when_looked_at_again():
    tissue, settled = np.ones((ROWS, COLUMNS), bool), np.zeros(ROWS * COLUMNS, bool)
    schedule = Schedule(grid(), tissue, idle_after=1e9, now=0.0)
    schedule.look_at(view_of(0, 0), 0.0)
    first = next_tile(schedule, settled, 0.0)
    schedule.look_at(view_of(8, 8), 0.0)
    assert not schedule.wants(first)
    schedule.release(first)
    schedule.look_at(view_of(0, 0), 0.0)
    assert next_tile(schedule, settled, 0.0) == first


def test_same_view_again_only_postpones_the_rest():
    tissue, settled = np.zeros((ROWS, COLUMNS), bool), np.zeros(ROWS * COLUMNS, bool)
    tissue[11, 14] = True
    schedule = Schedule(grid(), tissue, idle_after=1.0, now=0.0)
    schedule.look_at(view_of(0, 0), 0.0)
    assert next_tile(schedule, settled, 0.9) is None
    schedule.look_at(view_of(0, 0), 0.9)
    assert next_tile(schedule, settled, 1.8) is None
    assert next_tile(schedule, settled, 2.0) == ROWS * COLUMNS - 1


def test_new_view_stops_the_rest_at_once():
    tissue, settled = np.ones((ROWS, COLUMNS), bool), np.zeros(ROWS * COLUMNS, bool)
    schedule = Schedule(grid(), tissue, idle_after=1.0, now=0.0)
    far = next_tile(schedule, settled, 1.0)
    assert schedule.wants(far)
    schedule.look_at(view_of(0, 0), 1.0)
    near = set()
    while (index := next_tile(schedule, settled, 1.5)) is not None:
        near.add(divmod(index, COLUMNS))
    assert near == {(row, column) for row in range(4) for column in range(4)}


def test_answer_to_an_old_view_is_ignored():
    tissue, settled = np.ones((ROWS, COLUMNS), bool), np.zeros(ROWS * COLUMNS, bool)
    schedule = Schedule(grid(), tissue, idle_after=1e9, now=0.0)
    schedule.look_at(view_of(0, 0), 0.0)
    old = schedule.ask(settled, 0.0)
    assert schedule.ask(settled, 0.0) is None  # one reader orders, the others wait
    schedule.look_at(view_of(8, 8), 0.0)
    new = schedule.ask(settled, 0.0)
    schedule.accept(old, old.answer())
    assert schedule.take(settled) is None
    schedule.accept(new, new.answer())
    assert divmod(schedule.take(settled), COLUMNS) in {(row, column) for row in range(8, 11) for column in range(8, 11)}


def test_a_jump_is_no_movement_and_two_views_in_half_a_second_are_one():
    schedule = Schedule(grid(), np.ones((ROWS, COLUMNS), bool), idle_after=2.0, now=0.0)
    assert schedule.resting(0.0)
    schedule.look_at(view_of(0, 0), 1.0)
    schedule.look_at(view_of(0, 0), 1.1)  # the same view again: nothing has moved
    assert schedule.resting(1.1)
    schedule.look_at(view_of(0, 1), 1.2)
    assert not schedule.resting(1.2)
    schedule.look_at(view_of(0, 2), 1.6)
    assert not schedule.resting(1.9)
    assert schedule.resting(2.1)
    schedule.look_at(view_of(5, 5), 4.0)
    assert schedule.resting(4.0)

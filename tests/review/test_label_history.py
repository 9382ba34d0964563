"""Undo, redo, and what a sequence of labels amounts to."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.review.advice import count_labels, next_step, warnings_for
from napari_mtlpath.review.events import (
    Act,
    Imported,
    LabelEvent,
    Origin,
    Redone,
    RegionDrawn,
    RegionRemoved,
    SlideLabelled,
    TilesLabelled,
    Undone,
)
from napari_mtlpath.review.history import history
from napari_mtlpath.review.regions import area_of
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.review.tile_labels import Labels, TileLabel, labels_of
from napari_mtlpath.tiles.grid import TileGrid
from napari_mtlpath.tiles.spec import TileSpec

GRID = TileGrid.for_slide(height=80, width=80, mpp=(1.0, 1.0), spec=TileSpec(tile_um=10, tile_px=10))
DRAFT = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)


def _event(act: Act) -> LabelEvent:
    return LabelEvent(slide="s", task="t", act=act)


def _tiles(*indices: int, value: float | None = 1.0, side: int = 10) -> TilesLabelled:
    corners = tuple(GRID.corner(index) for index in indices)
    return TilesLabelled(corners=corners, side=side, value=value, origin=Origin.TILE)


def _region(key: str, *, rows: int, value: float) -> RegionDrawn:
    """A region over the first rows of the grid."""
    outline = [(0, 0), (0, 80), (10 * rows, 80), (10 * rows, 0)]
    return RegionDrawn(region=key, area=area_of(outline), value=value)


def _labels(*acts: Act) -> Labels:
    return labels_of(history([_event(act) for act in acts]).effective, GRID)


def test_the_last_word_about_a_tile_holds_and_the_contradiction_is_found() -> None:
    labels = _labels(_region("r", rows=1, value=1.0), _tiles(3, value=0.0))
    assert labels.tiles[3] == TileLabel(value=0.0, origin=Origin.TILE)
    assert labels.tiles[2].value == 1.0
    assert labels.contradicted == (3,)


def test_a_label_taken_back_is_no_label_and_no_contradiction() -> None:
    labels = _labels(_tiles(3, value=0.0), _tiles(3, value=None), _tiles(3, value=1.0))
    assert labels.tiles[3].value == 1.0
    assert labels.contradicted == ()
    assert _labels(_region("r", rows=1, value=1.0), _tiles(0, value=None)).withdrawn == (0,)


def test_a_region_that_is_taken_away_takes_its_labels_with_it() -> None:
    labels = _labels(_tiles(0, value=0.0), _region("r", rows=2, value=1.0), RegionRemoved(region="r"))
    assert labels.tiles == {0: TileLabel(value=0.0, origin=Origin.TILE)}
    assert labels.regions == ()


def test_a_region_drawn_anew_replaces_itself() -> None:
    labels = _labels(_region("r", rows=3, value=1.0), _region("r", rows=1, value=0.0))
    assert sorted(labels.tiles) == list(range(8))
    assert [region.value for region in labels.regions] == [0.0]
    assert labels.contradicted == ()


def test_tiles_of_another_size_are_counted_and_left_out() -> None:
    labels = _labels(_tiles(0), _tiles(0, 1, side=20))
    assert list(labels.tiles) == [0]
    assert labels.foreign == 2


def test_what_a_file_brought_is_undone_as_one_act() -> None:
    imported = _event(Imported(acts=(_region("r", rows=1, value=1.0), _tiles(20, value=0.0)), file="a.geojson"))
    assert len(labels_of(history([imported]).effective, GRID).tiles) == 9
    undone = history([imported, _event(Undone(event=imported.key))])
    assert labels_of(undone.effective, GRID).tiles == {}


def test_a_new_label_forgets_what_could_be_redone() -> None:
    first, second = _event(_tiles(0)), _event(_tiles(1))
    past = history([first, _event(Undone(event=first.key)), second])
    assert past.redoable == ()
    assert past.undoable == (second.key,)


def test_a_window_undoes_only_its_own_acts() -> None:
    own, others = _event(_tiles(0)), _event(_tiles(1))
    assert history([own, others], mine=frozenset([own.key])).undoable == (own.key,)


def test_undoing_what_is_unknown_or_undone_does_nothing() -> None:
    first = _event(_tiles(0))
    events = [first, _event(Undone(event="unknown")), _event(Undone(event=first.key)), _event(Undone(event=first.key))]
    past = history(events)
    assert past.effective == ()
    assert past.redoable == (first.key,)


@given(st.lists(st.sampled_from(["act", "undo", "redo"]), max_size=40))
def test_undo_and_redo_follow_two_stacks(steps: list[str]) -> None:
    """Compare with the textbook's two stacks."""
    events: list[LabelEvent] = []
    done: list[str] = []
    undone: list[str] = []
    for number, step in enumerate(steps):
        if step == "act":
            events.append(_event(_tiles(number % 64)))
            done.append(events[-1].key)
            undone.clear()
        elif step == "undo" and done:
            undone.append(done.pop())
            events.append(_event(Undone(event=undone[-1])))
        elif step == "redo" and undone:
            done.append(undone.pop())
            events.append(_event(Redone(event=done[-1])))
    past = history(events)
    assert past.undoable == tuple(done)
    assert past.redoable == tuple(undone)
    assert {event.key for event in past.effective} == set(done)


def test_labels_are_counted_by_where_they_came_from() -> None:
    labels = _labels(_region("r", rows=1, value=0.0), _tiles(9, 10), SlideLabelled(value=1.0))
    counts = count_labels([labels, Labels()])
    assert counts.per_origin == {Origin.REGION: {0.0: 8}, Origin.TILE: {1.0: 2}, Origin.SLIDE: {1.0: 1}}
    assert counts.tiles == {0.0: 8, 1.0: 2}
    assert counts.whole_slides == {1.0: 1}
    assert counts.slides == 1


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([_tiles(0, 1)], "No label is 'absent' yet"),
        ([_tiles(0), _tiles(1, value=0.0)], "1 tile labelled 'present': few"),
        ([_tiles(0), _tiles(*range(1, 40), value=0.0)], "39 tiles are 'absent' and only 1 are 'present'"),
        ([_tiles(0), _tiles(0, value=0.0)], "labelled twice with different answers; the later one holds"),
        ([_tiles(0), _tiles(0, side=20)], "have another size than this model's"),
    ],
)
def test_weak_labels_are_said_in_a_sentence(labels: list[Act], said: str) -> None:
    assert any(said in sentence for sentence in warnings_for(DRAFT, [_labels(*labels)]))


def test_a_regression_needs_different_values() -> None:
    draft = TaskDraft.made(title="Share", kind=TaskKind.REGRESSION)
    assert "the same value" in warnings_for(draft, [_labels(_tiles(0, 1, 2))])[0]
    assert warnings_for(draft, [_labels(*[_tiles(n, value=n / 20) for n in range(20)])]) == ()


def test_a_beginner_is_told_what_to_do_next() -> None:
    enough = _labels(_tiles(*range(10)), _tiles(*range(10, 20), value=0.0))
    assert next_step(None, [], slide=False, model=False).startswith("Open a slide")
    assert next_step(None, [], slide=True, model=False).startswith("Load a model")
    assert "New task" in next_step(None, [], slide=True, model=True)
    assert "click tiles" in next_step(DRAFT, [], slide=True, model=True)
    assert "'absent' too" in next_step(DRAFT, [_labels(_tiles(0))], slide=True, model=True)
    assert "Suggest" in next_step(DRAFT, [_labels(_tiles(0), _tiles(1, value=0.0))], slide=True, model=True)
    assert "Fine-tune" in next_step(DRAFT, [enough], slide=True, model=True)
    assert warnings_for(DRAFT, [enough]) == ()


def test_values_follow_the_order_that_is_asked_for() -> None:
    values = _labels(_tiles(5), _tiles(3, value=0.0)).values(np.array([3, 4, 5]))
    np.testing.assert_array_equal(values, [0.0, np.nan, 1.0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"title": "???"}, "Type a title"),
        ({"kind": TaskKind.CLASSES, "classes": ("a", "b")}, "3 to 9 classes; found 2"),
        ({"classes": ("a", "A")}, "a name of its own"),
        ({"kind": TaskKind.REGRESSION, "low": 1.0, "high": 1.0}, "must be below"),
        ({"colours": ("red", "blue")}, "#rrggbb"),
    ],
)
def test_a_task_that_cannot_be_is_refused_in_a_sentence(change: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TaskDraft.made(**{"title": "A task", "kind": TaskKind.BINARY, **change})


def test_a_draft_of_a_task_is_the_same_task() -> None:
    for draft in (
        DRAFT,
        TaskDraft.made(title="Cell", kind=TaskKind.CLASSES, classes=("a", "b", "c")),
        TaskDraft.made(title="Share", kind=TaskKind.REGRESSION, unit="%", high=100.0),
    ):
        assert TaskDraft.of(draft.task).task == draft.task
    assert DRAFT.words(1.0) == "present"
    with pytest.raises(ValueError, match="2 classes"):
        DRAFT.check(2.0)

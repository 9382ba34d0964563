"""The labels of a session: at once in memory, soon on disk, on the slide that was meant, shared with other windows."""

import threading

import numpy as np
import pytest
from label_fakes import SIDE, LabelSlide, label_model, put_features
from session_fakes import FakeAnalysis

from napari_mtlpath import folders
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.review.events import Origin
from napari_mtlpath.review.journal import Journal, JournalError
from napari_mtlpath.review.task_draft import TaskDraft, TaskKind
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session

DRAFT = TaskDraft.made(title="Eosinophils", kind=TaskKind.BINARY)


class Window:
    """A session with a slide and a model, ready to label."""

    def __init__(self, slide=None, *, model=None, store=None):
        self.store = store if store is not None else FeatureStore(None)
        self.session = Session(store=self.store, analyse=lambda *a: FakeAnalysis(*a, talk=False))
        self.labels = self.session.labels
        self.messages = []
        self.changes = 0
        self.session.message.connect(self.messages.append)
        self.session.labels_changed.connect(self._count)
        self.labels.wake()
        self.session.set_model(model or label_model())
        self.open(slide or LabelSlide())

    def _count(self):
        self.changes += 1

    def open(self, slide):
        self.slide = slide
        self.session.attach_slide(slide)
        assert self.labels.settle()
        assert self.labels.place is not None
        assert self.labels.place.slide is slide
        return self.labels.place

    def close(self):
        self.session.close()


@pytest.fixture
def window():
    window = Window()
    window.labels.define(DRAFT)
    yield window
    window.close()


@pytest.fixture
def windows():
    """Makes windows that are closed at the end."""
    made = []

    def make(*args, **kwargs):
        made.append(Window(*args, **kwargs))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_a_label_counts_at_once_and_is_told(window):
    before = window.changes
    assert window.labels.label_tiles([3, 4], 1.0) == 2
    assert {index: label.value for index, label in window.labels.labels.tiles.items()} == {3: 1.0, 4: 1.0}
    assert window.changes > before


def test_labels_are_found_again_after_closing(windows):
    first = windows()
    first.labels.define(DRAFT)
    first.labels.label_tiles([3], 1.0)
    first.labels.label_slide(1.0)
    first.labels.draw_region([(0, 0), (0, 3 * SIDE), (SIDE, 3 * SIDE), (SIDE, 0)], 0.0)
    first.close()

    again = windows()
    assert again.labels.task == DRAFT
    labels = again.labels.labels
    assert {index: label.value for index, label in labels.tiles.items()} == {0: 0.0, 1: 0.0, 2: 0.0, 3: 1.0}
    assert labels.slide == 1.0
    again.labels.undo()
    assert list(again.labels.labels.tiles) == [3]


def test_undo_and_redo_are_kept_too(windows):
    first = windows()
    first.labels.define(DRAFT)
    first.labels.label_tiles([3], 1.0)
    first.labels.label_tiles([4], 0.0)
    first.labels.undo()
    first.labels.undo()
    first.labels.redo()
    assert first.labels.can_undo
    assert first.labels.can_redo
    first.close()
    assert list(windows().labels.labels.tiles) == [3]


def test_a_tile_without_tissue_is_refused_in_a_sentence(window):
    with pytest.raises(ValueError, match="no tissue on this tile"):
        window.labels.label_tiles([29], 1.0)
    assert window.labels.label_tiles([3, 29], 1.0) == 1
    assert list(window.labels.labels.tiles) == [3]


@pytest.mark.parametrize(
    ("outline", "said"),
    [
        ([(0, 2500), (0, 2800), (500, 2800), (500, 2500)], "holds no tissue"),
        ([(1, 1), (1, 5), (5, 5), (5, 1)], "no centre of a tile"),
        ([(0, 0), (5, 5)], "at least three corners"),
    ],
)
def test_a_region_that_labels_nothing_is_refused_in_a_sentence(window, outline, said):
    with pytest.raises(ValueError, match=said):
        window.labels.draw_region(outline, 1.0)
    assert window.labels.labels.regions == ()


def test_without_a_place_or_a_task_a_label_is_refused(windows):
    window = windows()
    with pytest.raises(ValueError, match="New task"):
        window.labels.label_tiles([3], 1.0)
    window.labels.define(DRAFT)
    window.session.close_slide()
    with pytest.raises(ValueError, match="Open a slide"):
        window.labels.label_tiles([3], 1.0)


def test_a_label_goes_to_the_slide_that_was_clicked_though_another_one_is_open(window):
    clicked = window.labels.place
    other = window.open(LabelSlide("b" * 64, name="b.svs"))
    window.labels.label_tiles([3], 1.0, place=clicked)
    assert window.labels.labels.tiles == {}
    assert list(window.labels.labels_at(clicked).tiles) == [3]
    assert window.labels.place is other


def test_each_slide_has_its_own_labels(window):
    window.labels.label_tiles([3], 1.0)
    window.open(LabelSlide("b" * 64, name="b.svs"))
    window.labels.label_tiles([5, 6], 0.0)
    assert list(window.labels.labels.tiles) == [5, 6]
    counts = window.labels.counts()
    assert counts.tiles == {1.0: 1, 0.0: 2}
    assert counts.slides == 2
    window.labels.undo()
    window.labels.undo()
    assert window.labels.counts().tiles == {1.0: 1}


def test_two_windows_on_a_slide_share_their_labels(windows):
    first, second = windows(), windows()
    first.labels.define(DRAFT)
    first.labels.settle()
    seen = threading.Event()
    second.session.labels_changed.connect(lambda: seen.set() if 3 in second.labels.labels.tiles else None)
    first.labels.label_tiles([3], 1.0)
    if second.labels.task is None:
        second.labels.define(DRAFT)
    assert seen.wait(30) or 3 in second.labels.labels.tiles
    second.labels.label_tiles([4], 0.0)
    second.labels.undo()
    second.labels.undo()  # What the other window said is not this one's to take back.
    assert list(second.labels.labels.tiles) == [3]


def test_a_disk_that_refuses_is_said_once_and_loses_nothing(windows, monkeypatch):
    window = windows()
    window.labels.define(DRAFT)
    window.labels.settle()
    written = Journal.append
    broken = threading.Event()
    broken.set()

    def append(self, events):
        if broken.is_set():
            raise JournalError("The disk is full.")
        written(self, events)

    monkeypatch.setattr(Journal, "append", append)
    window.labels.label_tiles([3], 1.0)
    window.labels.settle()
    window.labels.label_tiles([4], 1.0)
    window.labels.settle()
    said = [message.text for message in window.messages if message.level is Level.ERROR]
    assert said == ["The disk is full. 1 of your labels are kept in memory and written as soon as that works."]
    assert list(window.labels.labels.tiles) == [3, 4]
    broken.clear()
    window.close()
    assert list(windows().labels.labels.tiles) == [3, 4]


def test_labels_that_a_full_disk_refuses_to_the_end_are_back_at_the_next_start(window, windows, monkeypatch):
    home = folders.data_folder()

    def append(self, events):
        if self.path.parent == home:
            raise JournalError("The disk is full.")
        written(self, events)

    written = Journal.append
    with monkeypatch.context() as full:
        full.setattr(Journal, "append", append)
        window.labels.label_tiles([3, 4], 1.0)
        window.labels.settle()
        window.close()
    (rescued,) = folders.cache_folder().glob("mtlpath-labels-*.sqlite")
    again = windows()
    assert list(again.labels.labels.tiles) == [3, 4]
    assert not rescued.exists()


def test_a_lesson_is_made_from_labels_and_cached_embeddings(window):
    place = window.labels.place
    indices = put_features(window.store, place)
    window.labels.label_tiles([3, 33], 1.0)
    window.labels.label_tiles([5], 0.0, origin=Origin.GALLERY)
    (lesson,) = window.labels.lessons()
    (bag,) = lesson.bags
    assert lesson.task == DRAFT.task
    assert (bag.name, bag.fingerprint) == ("a.svs", "a" * 64)
    np.testing.assert_array_equal(bag.features[:, :2], bag.positions)
    np.testing.assert_array_equal(bag.positions, np.stack(np.divmod(indices, 30), axis=1))
    known = {tuple(place): value for place, value in zip(bag.positions.tolist(), bag.tile_labels, strict=True)}
    assert {place: value for place, value in known.items() if value == value} == {(0, 3): 1.0, (1, 3): 1.0, (0, 5): 0.0}
    assert bag.origins == {"tile": 2, "gallery": 1}
    assert np.isnan(bag.label)
    assert not [problem for problem in lesson.problems() if problem.fatal]


def test_a_lesson_holds_the_slides_that_are_not_open_any_more(window):
    put_features(window.store, window.labels.place)
    window.labels.label_tiles([3], 1.0)
    put_features(window.store, window.open(LabelSlide("b" * 64, name="b.svs")))
    window.labels.label_slide(0.0)
    (lesson,) = window.labels.lessons()
    assert [bag.name for bag in lesson.bags] == ["b.svs", "a.svs"]
    assert lesson.bags[0].label == 0.0
    assert [np.nansum(bag.tile_labels) for bag in lesson.bags] == [0.0, 1.0]


def test_labels_without_embeddings_are_said_and_left_out(window):
    put_features(window.store, window.labels.place, but=[3])
    window.labels.label_tiles([3, 4], 1.0)
    (lesson,) = window.labels.lessons()
    assert np.nansum(lesson.bags[0].tile_labels) == 1.0
    assert any("1 labelled tiles of 'a.svs' were not analysed yet" in message.text for message in window.messages)


def test_a_lesson_of_nothing_is_refused_in_a_sentence(window):
    with pytest.raises(ValueError, match="Label some tiles first"):
        window.labels.lessons()
    window.labels.label_tiles([3], 1.0)
    with pytest.raises(ValueError, match="let the analysis run"):
        window.labels.lessons()


def test_labels_made_for_tiles_of_another_size_wait_for_their_model(window):
    window.labels.label_tiles([3], 1.0)
    window.session.set_model(label_model("coarse", tile_um=96.0))
    window.labels.settle()
    assert window.labels.labels.tiles == {}
    assert window.labels.labels.foreign == 1
    window.session.set_model(label_model())
    window.labels.settle()
    assert list(window.labels.labels.tiles) == [3]


def test_a_task_of_the_model_can_be_labelled_to_fine_tune_it(window):
    window.labels.choose_existing("basophils")
    assert window.labels.task.task == window.session.tasks[0]
    window.labels.label_tiles([3], 1.0)
    window.labels.choose("eosinophils")
    assert window.labels.labels.tiles == {}


def test_a_task_with_other_answers_needs_another_name(window):
    with pytest.raises(ValueError, match="another name"):
        window.labels.define(TaskDraft.made(title="Eosinophils", kind=TaskKind.REGRESSION))
    with pytest.raises(ValueError, match="no task 'x'"):
        window.labels.choose("x")
    window.labels.drop("eosinophils")
    assert window.labels.task is None
    assert window.labels.drafts == ()


def test_switching_slides_while_labelling_loses_nothing(window):
    places = [window.labels.place, *(window.open(LabelSlide(letter * 64, name=f"{letter}.svs")) for letter in "bcd")]
    for index in range(16):
        window.session.attach_slide(LabelSlide("abcd"[index % 3] * 64))
        window.labels.label_tiles([index], 1.0, place=places[index % 4])
    window.labels.settle()
    found = [list(window.labels.labels_at(place).tiles) for place in places]
    assert found == [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]]


def test_no_thread_is_left_after_closing(window):
    window.labels.label_tiles([3], 1.0)
    window.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "mtlpath-labels"]

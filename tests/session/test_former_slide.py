"""A slide that made room for another one can be opened again as it was."""

from pathlib import Path

import pytest
from session_fakes import FakeSlide, FakeStore

from napari_mtlpath.session.former import go_back
from napari_mtlpath.session.session import Session
from napari_mtlpath.slides.resolution import Resolution, ResolutionSource


@pytest.fixture
def session():
    session = Session(store=FakeStore())
    yield session
    session.close()


@pytest.fixture
def opened(monkeypatch):
    """What the session was asked to open."""
    asked = []

    def open_file(path, _, *, mpp=None, assumed_mpp=None):
        asked.append((path, mpp, assumed_mpp))
        return FakeSlide("a" * 64, name=path.name)

    monkeypatch.setattr("napari_mtlpath.session.session.open_file", open_file)
    return asked


def with_source(source):
    slide = FakeSlide("a" * 64, name="first.svs")
    slide.with_resolution(Resolution(mpp=(0.4, 0.4), source=source, detail=""))
    return slide


@pytest.mark.parametrize(
    ("source", "mpp", "assumed"),
    [
        (ResolutionSource.FILE, None, None),
        (ResolutionSource.USER, (0.4, 0.4), None),
        (ResolutionSource.ASSUMED, None, 0.4),
    ],
)
def test_going_back_keeps_what_the_user_typed(session, opened, source, mpp, assumed):
    session.attach_slide(with_source(source))
    session.attach_slide(FakeSlide("b" * 64, name="second.svs"))
    assert session.former.name == "first.svs"
    assert go_back(session) is session.slide
    assert opened == [(Path("first.svs"), mpp, assumed)]
    assert session.former.name == "second.svs"


def test_the_user_is_told_once_that_a_slide_made_room(session):
    told = []
    session.message.connect(lambda message: told.append(message.text))
    for index in range(3):
        session.attach_slide(FakeSlide(str(index) * 64, name=f"{index}.svs"))
    assert len([text for text in told if "one slide at a time" in text]) == 1
    assert "'0.svs' was closed" in told[0]


def test_there_is_no_way_back_from_the_first_slide_or_from_the_same_one(session):
    session.attach_slide(FakeSlide("a" * 64))
    session.attach_slide(FakeSlide("a" * 64))
    assert session.former is None
    assert go_back(session) is None

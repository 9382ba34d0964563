"""Pixel models on one slide in turn: what one has answered is there when it comes back."""

import time

from pixel_fakes import ColourModel
from pixel_slides import DrawnSlide
from session_fakes import FakeSlide

from napari_mtlpath.session.session import Session

PATIENCE = 120.0


class DrawnFile(FakeSlide):
    """A drawn slide with what a session needs of a file."""

    def __init__(self, fingerprint: str = "d" * 64) -> None:
        super().__init__(fingerprint, name="drawn.svs", shape=(200, 200))
        self._drawn = DrawnSlide(height=200, width=200)
        self.colour = "native"

    def tile_shape(self, level):
        return self._drawn.tile_shape(level)

    def thumbnail(self, max_side=1024):
        return self._drawn.thumbnail(max_side)

    def read_square(self, y, x, side, *, tile_px, resampling):
        return self._drawn.read_square(y, x, side, tile_px=tile_px, resampling=resampling)


def complete(session, model):
    session.set_model(model)
    _until(lambda: session.result is not None and session.result.model_name == model.name and session.result.complete)
    return session.result


def _until(holds):
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_model_that_comes_back_answers_at_once_until_the_slide_is_closed():
    session, one, other = Session(), ColourModel(name="one"), ColourModel(name="other")
    session.attach_slide(DrawnFile())
    first = complete(session, one)
    answered = one.tiles_answered
    complete(session, other)
    again = complete(session, one)
    assert one.tiles_answered == answered
    assert [each.class_values for each in again.tasks] == [each.class_values for each in first.tasks]

    session.attach_slide(DrawnFile("e" * 64))  # another slide; the way back stays open
    complete(session, one)
    beside = one.tiles_answered
    session.attach_slide(DrawnFile())
    complete(session, one)
    assert one.tiles_answered == beside

    session.close_slide()
    session.settle(PATIENCE)
    session.attach_slide(DrawnFile())
    complete(session, one)
    assert one.tiles_answered > beside
    session.close()

"""Whatever is switched, and whenever: nothing of one slide or model reaches another, and nothing is left over."""

import random
import threading

import pytest
from session_fakes import FakeAnalysis, FakeSlide, FakeStore, fake_model

from napari_mtlpath.session.session import Session

SWITCHES = 500


class Witness:
    """Hears what a viewer would hear and notes every report that does not belong to what it was told last."""

    def __init__(self, session):
        self.slide = self.model = None
        self.wrong, self.reports, self.spoken = [], 0, threading.Event()
        session.slide_changed.connect(self._slide)
        session.model_changed.connect(self._model)
        session.report_changed.connect(self._report)

    def _slide(self, slide):
        self.slide = slide

    def _model(self, model):
        self.model = model

    def _report(self, report):
        self.reports += 1
        self.spoken.set()
        expected = (self.slide and self.slide.fingerprint, self.model and self.model.digest)
        if (report.result.slide_fingerprint, report.result.model_digest) != expected:
            self.wrong.append((report.result.slide_fingerprint, report.result.model_digest, expected))


def _act(session, chance, models, slides):
    match chance.randrange(8):
        case 0 | 1 | 2:
            slides.append(FakeSlide(str(len(slides)) * 4))
            session.attach_slide(slides[-1])
        case 3 | 4:
            session.set_model(chance.choice(models))
        case 5:
            session.close_slide()
        case 6:
            session.pause() if chance.random() < 0.5 else session.resume()
        case _:
            session.look_at((0.0, 0.0, chance.random() * 100, 100.0))
    if chance.random() < 0.3:
        session.settle(10)


@pytest.mark.parametrize("seed", [0, 1])
def test_no_result_ever_reaches_another_slide_or_model(seed):
    chance = random.Random(seed)
    store = FakeStore()
    session = Session(store=store, analyse=FakeAnalysis)
    witness = Witness(session)
    models, slides = [None, fake_model("one"), fake_model("two")], []
    for _ in range(SWITCHES):
        witness.spoken.clear()
        _act(session, chance, models, slides)
        if chance.random() < 0.2 and session.live is not None:
            assert witness.spoken.wait(60)
        result, slide, model = session.result, session.slide, session.model
        if result is not None and slide is session.slide and model is session.model:
            assert (result.slide_fingerprint, result.model_digest) == (slide.fingerprint, model.digest)
    session.close()
    assert witness.reports > 0
    assert witness.wrong == []
    assert [slide.closings for slide in slides] == [1] * len(slides)
    assert store.closed
    assert not FakeAnalysis.alive


def test_switching_from_several_threads_at_once_leaves_one_consistent_state():
    session = Session(store=FakeStore(), analyse=FakeAnalysis)
    witness = Witness(session)
    models = [fake_model("one"), fake_model("two")]
    made = [[] for _ in range(4)]

    def switch(seed):
        chance = random.Random(seed)
        for _ in range(60):
            _act(session, chance, models, made[seed])

    threads = [threading.Thread(target=switch, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    session.settle(30)
    assert witness.slide is session.slide
    assert witness.model is session.model
    session.close()
    assert witness.wrong == []
    assert all(slide.closings == 1 for slides in made for slide in slides)
    assert not FakeAnalysis.alive


@pytest.mark.parametrize("seed", range(20))
def test_closing_at_any_instant_leaves_nothing_behind(seed):
    chance = random.Random(seed)
    before = set(threading.enumerate())
    session = Session(store=FakeStore(), analyse=FakeAnalysis)
    heard = []
    slides = []
    session.report_changed.connect(heard.append)
    closer = threading.Timer(chance.random() * 0.02, session.close)
    closer.start()
    for _ in range(30):
        _act(session, chance, [fake_model("one"), None], slides)
    closer.join(10)
    session.close()
    count = len(heard)
    assert set(threading.enumerate()) <= before
    assert not FakeAnalysis.alive
    assert all(slide.closings == 1 for slide in slides)
    assert len(heard) == count

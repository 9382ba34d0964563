"""The session does what its verbs say, and says what happened."""

import threading

import pytest
from session_fakes import TASKS, FakeAnalysis, FakeSlide, FakeStore, fake_model, fake_report, fake_result

from napari_mtlpath.session.messages import Level, made_for
from napari_mtlpath.session.session import Session


class Stage:
    """A session with fakes around it, and everything that it said."""

    def __init__(self):
        self.analyses = []
        self.heard = []
        self.store = FakeStore()
        self.session = Session(store=self.store, analyse=self.analyse)
        for name in ("slide_changed", "model_changed", "report_changed", "message", "overlay_changed", "busy_changed"):
            getattr(self.session, name).connect(lambda value, name=name: self.heard.append((name, value)))

    def analyse(self, slide, model, on_report):
        self.analyses.append(FakeAnalysis(slide, model, on_report, talk=False))
        return self.analyses[-1]

    def of(self, name):
        return [value for heard, value in self.heard if heard == name]


@pytest.fixture
def stage():
    stage = Stage()
    yield stage
    stage.session.close()
    assert not FakeAnalysis.alive


def test_a_slide_and_a_model_start_an_analysis(stage):
    slide, model = FakeSlide(), fake_model()
    stage.session.attach_slide(slide)
    stage.session.look_at((0, 0, 100, 100))
    stage.session.set_model(model)
    stage.session.settle(5)
    assert [(a.slide, a.model) for a in stage.analyses] == [(slide, model)]
    assert stage.session.live is stage.analyses[0]
    assert ("look_at", (0, 0, 100, 100)) in stage.analyses[0].calls
    assert stage.of("slide_changed") == [slide]
    assert stage.of("model_changed") == [model]


def test_a_report_becomes_the_state_and_is_told(stage):
    slide, model = FakeSlide(), fake_model()
    stage.session.attach_slide(slide)
    stage.session.set_model(model)
    stage.session.settle(5)
    report = fake_report(slide, model)
    stage.analyses[0].on_report(report)
    assert stage.session.report is report
    assert stage.session.result is report.result
    assert stage.of("report_changed") == [report]


def test_a_report_without_a_result_keeps_the_last_result(stage):
    slide, model = FakeSlide(), fake_model()
    stage.session.attach_slide(slide)
    stage.session.set_model(model)
    stage.session.settle(5)
    first, second = fake_report(slide, model), fake_report(slide, model)
    second.result = None
    stage.analyses[0].on_report(first)
    stage.analyses[0].on_report(second)
    assert stage.session.report is second
    assert stage.session.result is first.result


def test_what_an_analysis_of_before_reports_is_dropped(stage):
    first, second, model = FakeSlide("a" * 64), FakeSlide("b" * 64, name="b.svs"), fake_model()
    stage.session.attach_slide(first)
    stage.session.set_model(model)
    stage.session.settle(5)
    stage.session.attach_slide(second)
    stage.analyses[0].on_report(fake_report(first, model))
    assert stage.session.report is None
    assert stage.of("report_changed") == []


def test_the_slide_of_before_is_closed_after_its_analysis(stage):
    order = []
    first, model = FakeSlide(), fake_model()
    first.close = lambda: order.append("slide")
    stage.session.attach_slide(first)
    stage.session.set_model(model)
    stage.session.settle(5)
    closing = stage.analyses[0].close
    stage.analyses[0].close = lambda timeout: (order.append("analysis"), closing(timeout))
    stage.session.attach_slide(FakeSlide("b" * 64))
    stage.session.settle(5)
    assert order == ["analysis", "slide"]


def test_attaching_the_same_slide_again_changes_nothing(stage):
    slide = FakeSlide()
    stage.session.attach_slide(slide)
    stage.session.attach_slide(slide)
    stage.session.settle(5)
    assert stage.of("slide_changed") == [slide]
    assert not slide.closed


def test_without_microns_per_pixel_nothing_is_analysed_and_the_user_reads_what_to_do(stage):
    stage.session.attach_slide(FakeSlide(mpp=None, detail="The file names no resolution."))
    stage.session.set_model(fake_model())
    stage.session.settle(5)
    assert stage.analyses == []
    text = stage.of("message")[-1].text
    assert "The file names no resolution." in text
    assert "Type its microns per pixel in the Slide section" in text


def test_typing_microns_per_pixel_starts_the_analysis(stage):
    slide = FakeSlide(mpp=None)
    stage.session.attach_slide(slide)
    stage.session.set_model(fake_model())
    stage.session.set_mpp(0.25)
    stage.session.settle(5)
    assert slide.resolution.mpp == (0.25, 0.25)
    assert [a.slide for a in stage.analyses] == [slide]


def test_typed_microns_per_pixel_are_remembered_only_where_asked(stage):
    kept, not_kept = FakeSlide("c" * 64, mpp=None), FakeSlide("d" * 64, mpp=None)
    stage.session.attach_slide(kept)
    stage.session.set_mpp(0.25)
    stage.session.attach_slide(not_kept)
    stage.session.set_mpp(0.5, remember=False)
    stage.session.settle(5)
    from napari_mtlpath.slides.resolution import ResolutionMemory

    memory = ResolutionMemory()
    assert memory.recall(kept.fingerprint).mpp == (0.25, 0.25)
    assert memory.recall(not_kept.fingerprint) is None


@pytest.mark.parametrize("value", [0.0, -1.0, 0.01, 25.0, float("nan"), float("inf")])
def test_unbelievable_microns_per_pixel_are_refused(stage, value):
    slide = FakeSlide()
    stage.session.attach_slide(slide)
    with pytest.raises(ValueError, match=r"0\.05"):
        stage.session.set_mpp(value)
    assert slide.resolution.mpp == (0.5, 0.5)


def test_a_slide_coarser_than_the_model_brings_a_warning(stage):
    stage.session.attach_slide(FakeSlide(mpp=(2.0, 2.0)))
    stage.session.set_model(fake_model(tile_um=48.0))
    assert [m.level for m in stage.of("message")] == [Level.WARNING]
    assert "0.5 um per pixel; this slide has 2" in stage.of("message")[0].text


def test_what_a_model_was_made_for_is_a_sentence():
    assert made_for(fake_model(made_for="simulated blood smears.").card) == (
        "This model was made for simulated blood smears."
    )
    assert made_for(fake_model(made_for="Blood smears").card) == "This model was made for blood smears."
    assert made_for(fake_model(made_for="H&E sections").card) == "This model was made for H&E sections."
    assert made_for(fake_model(made_for="").card) == ""


def test_pausing_holds_also_the_next_slide(stage):
    stage.session.set_model(fake_model())
    stage.session.pause()
    stage.session.attach_slide(FakeSlide())
    stage.session.settle(5)
    assert stage.session.paused
    assert "pause" in stage.analyses[0].calls
    stage.session.resume()
    assert not stage.session.paused
    assert "resume" in stage.analyses[0].calls


def test_running_again_says_when_the_file_was_replaced(stage):
    slide = FakeSlide()
    stage.session.attach_slide(slide)
    stage.session.set_model(fake_model())
    stage.session.settle(5)
    slide.changed = "The file was replaced since it was opened. Close the slide and open it again."
    stage.session.rerun()
    stage.session.settle(5)
    assert "rerun" in stage.analyses[0].calls
    assert stage.of("message")[-1].text == slide.changed


def test_an_analysis_that_cannot_start_is_told(stage):
    def broken(slide, model, on_report):
        raise ValueError("The tile is larger than the slide.")

    session = Session(store=FakeStore(), analyse=broken)
    heard = []
    session.message.connect(heard.append)
    session.attach_slide(FakeSlide())
    session.set_model(fake_model())
    session.settle(5)
    session.close()
    assert [(m.level, m.text) for m in heard] == [
        (Level.ERROR, "The analysis could not be started. The tile is larger than the slide.")
    ]


def test_a_slide_opened_while_another_was_asked_for_is_closed(stage, monkeypatch, tmp_path):
    slow, quick = FakeSlide("a" * 64), FakeSlide("b" * 64)
    begun, go_on = threading.Event(), threading.Event()

    def open_slide(path, **_):
        begun.set()
        assert go_on.wait(60)
        return slow

    monkeypatch.setattr("napari_mtlpath.session.opening.open_slide", open_slide)
    found = []
    worker = threading.Thread(target=lambda: found.append(stage.session.open_slide(tmp_path / "slow.svs")))
    worker.start()
    assert begun.wait(60)
    stage.session.attach_slide(quick)
    go_on.set()
    worker.join(5)
    assert found == [None]
    assert slow.closed
    assert stage.session.slide is quick
    assert stage.of("busy_changed") == ["Opening slow.svs", None]


def test_a_slide_that_does_not_open_leaves_the_one_of_before(stage, tmp_path):
    slide = FakeSlide()
    stage.session.attach_slide(slide)
    with pytest.raises(FileNotFoundError):
        stage.session.open_slide(tmp_path / "missing.svs")
    assert stage.session.slide is slide
    assert stage.session.busy is None


def test_closing_releases_everything_once(stage):
    slide = FakeSlide()
    stage.session.attach_slide(slide)
    stage.session.set_model(fake_model())
    stage.session.settle(5)
    stage.session.close()
    stage.session.close()
    assert slide.closings == 1
    assert stage.store.closed
    assert "close" in stage.analyses[0].calls
    assert not [t for t in threading.enumerate() if t.name.startswith("mtlpath-session")]


def test_closing_while_python_ends_releases_everything_too(stage, monkeypatch):
    """Python refuses new work for threads once it is ending, as when a script leaves a viewer open."""

    def refuse(*_):
        raise RuntimeError("cannot schedule new futures after shutdown")

    slide = FakeSlide()
    stage.session.attach_slide(slide)
    stage.session.set_model(fake_model())
    stage.session.settle(5)
    monkeypatch.setattr("concurrent.futures.ThreadPoolExecutor.submit", refuse)
    stage.session.close()
    assert slide.closings == 1
    assert stage.store.closed


def test_verbs_after_closing_do_nothing(stage):
    slide, late = FakeSlide(), FakeSlide("b" * 64)
    stage.session.attach_slide(slide)
    stage.session.close()
    before = list(stage.heard)
    stage.session.attach_slide(late)
    stage.session.set_model(fake_model())
    stage.session.close_slide()
    stage.session.pause()
    stage.session.look_at((0, 0, 1, 1))
    stage.session.settle(5)
    assert late.closed
    assert stage.session.slide is None
    assert stage.heard == before


def test_a_receiver_may_close_the_session(stage):
    stage.session.slide_changed.connect(lambda _: stage.session.close())
    slide = FakeSlide()
    stage.session.attach_slide(slide)
    assert slide.closed


def test_a_receiver_that_fails_is_logged_and_stops_nobody(stage, caplog):
    def broken(_):
        raise KeyError("no such layer")

    stage.session.slide_changed.connect(broken)
    stage.session.attach_slide(FakeSlide())
    stage.session.attach_slide(FakeSlide("b" * 64))
    assert [slide.fingerprint[0] for slide in stage.of("slide_changed")] == ["a", "b"]
    assert "A receiver of 'slide_changed' failed" in caplog.text


def test_what_a_receiver_does_is_told_after_what_it_heard(stage):
    heard = []
    stage.session.slide_changed.connect(lambda _: stage.session.set_model(fake_model()))
    stage.session.slide_changed.connect(lambda _: heard.append("slide"))
    stage.session.model_changed.connect(lambda _: heard.append("model"))
    stage.session.attach_slide(FakeSlide())
    assert heard == ["slide", "model"]


def test_the_overlay_follows_the_tasks_of_the_model(stage):
    assert stage.session.overlay.task is None
    stage.session.set_model(fake_model())
    assert stage.session.overlay.task == "basophils"
    stage.session.set_overlay(task="neutrophils")
    stage.session.set_model(fake_model("other"))
    assert stage.session.overlay.task == "neutrophils"
    stage.session.set_model(fake_model("third", tasks=TASKS[:1]))
    assert stage.session.overlay.task == "basophils"
    stage.session.set_model(None)
    assert stage.session.overlay.task is None


def test_a_task_that_the_model_lacks_is_refused(stage):
    stage.session.set_model(fake_model())
    with pytest.raises(ValueError, match="no task 'eosin'"):
        stage.session.set_overlay(task="eosin")


def test_a_kind_that_the_model_lacks_gives_way_to_one_that_it_has(stage):
    slide, model = FakeSlide(), fake_model()
    stage.session.attach_slide(slide)
    stage.session.set_model(model)
    stage.session.settle(5)
    report = fake_report(slide, model)
    report.result = fake_result(slide, model, kinds=("attention",))
    stage.analyses[0].on_report(report)
    assert stage.session.overlay.kind == "attention"

"""Each section shows the session and says what the user does to it."""

from types import SimpleNamespace

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtGui import QColor, QImage
from qtpy.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QPlainTextEdit, QSlider, QWidget
from session_fakes import TASKS, FakeAnalysis, FakeSlide, FakeStore, fake_model, fake_report, fake_result

from napari_mtlpath.session.choice import ModelOffer
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.preferences import PanelPreferences
from napari_mtlpath.session.session import Session
from napari_mtlpath.tasks import Classification
from napari_mtlpath.viewer.docks.model_section import ModelForm
from napari_mtlpath.viewer.docks.notice import NoticeBar
from napari_mtlpath.viewer.docks.overlay_section import OverlayForm
from napari_mtlpath.viewer.docks.panel import PanelForm
from napari_mtlpath.viewer.docks.section import SectionDock
from napari_mtlpath.viewer.docks.slide_section import SlideForm

pytestmark = pytest.mark.gui

MARKUP = "<img src=http://tracker.example/x.png><b>bold</b> & co.svs"


class Bench:
    """A session with fakes, and the sections that a test puts on it."""

    def __init__(self, qtbot):
        self.qtbot = qtbot
        self.analyses = []
        self.session = Session(store=FakeStore(), analyse=self._analyse)

    def _analyse(self, slide, model, on_report):
        self.analyses.append(FakeAnalysis(slide, model, on_report, talk=False))
        return self.analyses[-1]

    def show(self, widget):
        self.qtbot.addWidget(widget)
        widget.resize(340, 700)
        widget.show()
        return widget

    def analyse(self, slide=None, model=None, **result):
        """Open a slide, use a model, and let the analysis report once."""
        slide, model = slide or FakeSlide(), model or fake_model()
        self.session.attach_slide(slide)
        self.session.set_model(model)
        self.session.settle(5)
        report = fake_report(slide, model, **result)
        self.analyses[-1].on_report(report)
        return report

    def until(self, condition):
        self.qtbot.waitUntil(condition, timeout=60_000)


@pytest.fixture
def bench(qtbot, monkeypatch):
    monkeypatch.setattr("napari_mtlpath.viewer.docks.model_chooser.model_offers", lambda: ())
    bench = Bench(qtbot)
    yield bench
    bench.session.close()


def child(widget, name, kind=QWidget):
    found = widget.findChild(kind, name)
    assert found is not None, f"no {name}"
    return found


def text(widget, name):
    return child(widget, name, QLabel).text()


def test_without_a_slide_the_user_reads_how_to_open_one(bench):
    form = bench.show(SlideForm(bench.session))
    assert child(form, "open-slide-form").isVisible()
    assert "Drag a slide file onto the window" in text(form, "open-slide-hint")
    assert not child(form, "slide-details").isVisible()


def test_the_samples_are_offered(bench):
    form = bench.show(SlideForm(bench.session))
    button = child(form, "open-sample-button", QAbstractButton)
    bench.until(button.isEnabled)
    assert [action.objectName() for action in button.menu().actions()][-1] == "open-sample-ihc"


def test_a_slide_that_cannot_be_opened_is_a_sentence_in_the_panel(bench, tmp_path):
    dock = bench.show(SectionDock(bench.session, SlideForm(bench.session)))
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"this is no slide")
    child(dock, "open-slide-form").open_path(str(broken))
    bench.until(lambda: "broken.svs" in text(dock, "notice-text"))
    assert child(dock, "notice-dismiss").isVisible()
    bench.qtbot.mouseClick(child(dock, "notice-dismiss"), Qt.MouseButton.LeftButton)
    assert not child(dock, "notice-bar").isVisible()


def test_the_slide_of_before_is_one_click_away(bench, monkeypatch):
    dock = bench.show(SectionDock(bench.session, SlideForm(bench.session)))
    first, second = FakeSlide("a" * 64, name="first.svs"), FakeSlide("b" * 64, name="second.svs")
    bench.session.attach_slide(first)
    bench.until(child(dock, "slide-details").isVisible)
    assert not child(dock, "slide-back").isVisible()
    bench.session.attach_slide(second)
    bench.until(lambda: "'first.svs' was closed" in text(dock, "notice-text"))
    back = child(dock, "slide-back", QAbstractButton)
    assert back.text() == "Back to first.svs"
    reopened = FakeSlide("a" * 64, name="first.svs")
    monkeypatch.setattr("napari_mtlpath.session.session.open_file", lambda path, *_, **__: reopened)
    bench.qtbot.mouseClick(child(dock, "notice-dismiss"), Qt.MouseButton.LeftButton)
    back.click()
    bench.until(lambda: bench.session.slide is reopened)
    bench.until(lambda: back.text() == "Back to second.svs")
    assert not child(dock, "notice-bar").isVisible()  # said once


def test_an_open_slide_is_described(bench):
    form = bench.show(SlideForm(bench.session))
    slide = FakeSlide(shape=(3000, 4000))
    slide.unreadable_tiles = 2
    bench.session.attach_slide(slide)
    bench.until(child(form, "slide-details").isVisible)
    assert text(form, "slide-format") == "Aperio"
    assert text(form, "slide-size") == "4,000 x 3,000 px (2 x 1.5 mm)"
    assert "1 in the file, 3 made while viewing" in child(form, "slide-format").toolTip()
    assert text(form, "scale-value") == "0.5 um per pixel"
    assert "From the file." in child(form, "scale-value").toolTip()
    assert not child(form, "scale-source").isVisible()  # said only where it is not the ordinary case
    assert text(form, "slide-unreadable").startswith("2 tiles of the file were unreadable")


def test_closing_the_slide_leads_back_to_the_start(bench):
    form = bench.show(SlideForm(bench.session))
    bench.session.attach_slide(FakeSlide())
    bench.until(child(form, "slide-details").isVisible)
    bench.qtbot.mouseClick(child(form, "slide-close"), Qt.MouseButton.LeftButton)
    bench.until(child(form, "open-slide-form").isVisible)
    assert bench.session.slide is None


def test_names_are_never_taken_for_markup(bench):
    form = bench.show(SlideForm(bench.session))
    form.resize(3000, 700)
    bench.session.attach_slide(FakeSlide(name=MARKUP))
    bench.until(child(form, "slide-details").isVisible)
    name = child(form, "slide-name", QLabel)
    bench.until(lambda: name.text() == MARKUP)
    assert name.textFormat() == Qt.TextFormat.PlainText
    assert "<img" not in name.toolTip()


def test_every_label_shows_plain_text(bench):
    panel = bench.show(PanelForm(bench.session, preferences=PanelPreferences()))
    bench.analyse()
    bench.until(lambda: panel.findChild(QLabel, "task-basophils-value") is not None)
    for label in panel.findChildren(QLabel):
        if label.text() and label.textFormat() != Qt.TextFormat.PlainText:
            assert not Qt.mightBeRichText(label.text()), label.objectName()


def test_a_typed_pixel_size_is_set_and_remembered(bench):
    form = bench.show(SlideForm(bench.session))
    slide = FakeSlide(mpp=None, detail="The file names no resolution.")
    bench.session.attach_slide(slide)
    field = child(form, "scale-field", QLineEdit)
    bench.until(field.isVisible)
    bench.qtbot.keyClicks(field, "0,25")
    bench.qtbot.keyClick(field, Qt.Key.Key_Return)
    bench.until(lambda: text(form, "scale-value") == "0.25 um per pixel")
    assert slide.resolution.mpp == (0.25, 0.25)
    assert not field.isVisible()
    assert text(form, "scale-source").startswith("Typed by you.")


@pytest.mark.parametrize(("typed", "said"), [("40", "0.05 to 20"), ("wide", "number of microns"), ("", "nothing")])
def test_a_wrong_pixel_size_is_refused_with_a_sentence(bench, typed, said):
    form = bench.show(SlideForm(bench.session))
    slide = FakeSlide()
    bench.session.attach_slide(slide)
    bench.until(child(form, "slide-details").isVisible)
    bench.qtbot.mouseClick(child(form, "scale-change"), Qt.MouseButton.LeftButton)
    field = child(form, "scale-field", QLineEdit)
    field.clear()
    bench.qtbot.keyClicks(field, typed)
    bench.qtbot.mouseClick(child(form, "scale-set"), Qt.MouseButton.LeftButton)
    assert said in text(form, "scale-error")
    assert slide.resolution.mpp == (0.5, 0.5)


def test_the_label_is_read_only_when_asked_for_and_hidden_again(bench):
    form = bench.show(SlideForm(bench.session))
    slide, read = FakeSlide(), []
    real = slide.associated
    slide.associated = lambda name: (read.append(name), real(name))[1]
    bench.session.attach_slide(slide)
    button = child(form, "label-button", QAbstractButton)
    bench.until(button.isVisible)
    assert read == []
    bench.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    bench.until(lambda: form.findChild(QLabel, "label-picture-label") is not None)
    assert read == ["label"]
    assert "patient" in text(form, "label-note")
    bench.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    bench.until(lambda: form.findChild(QLabel, "label-picture-label") is None)


def test_the_label_of_one_slide_is_not_shown_for_the_next(bench):
    form = bench.show(SlideForm(bench.session))
    bench.session.attach_slide(FakeSlide())
    button = child(form, "label-button", QAbstractButton)
    bench.until(button.isVisible)
    bench.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    bench.until(lambda: form.findChild(QLabel, "label-picture-label") is not None)
    bench.session.attach_slide(FakeSlide("b" * 64, name="b.svs"))
    bench.until(lambda: form.findChild(QLabel, "label-picture-label") is None)
    assert text(form, "label-note") == ""


def test_the_minimap_shows_the_slide_and_its_box_is_dragged(bench):
    form = bench.show(SlideForm(bench.session))
    bench.session.attach_slide(FakeSlide(shape=(2000, 4000)))
    minimap = child(form, "slide-minimap")
    bench.until(minimap.isVisible)
    asked = []
    minimap.moved.connect(lambda y, x: asked.append((y, x)))
    minimap.show_picture(_picture())
    middle = QPoint(minimap.width() // 2, minimap.height() // 2)
    bench.qtbot.mouseClick(minimap, Qt.MouseButton.LeftButton, pos=middle)
    y, x = asked[-1]
    assert abs(y - 1000) < 40
    assert abs(x - 2000) < 40
    minimap.show_rect((500.0, 1000.0, 1500.0, 3000.0))
    bench.qtbot.keyClick(minimap, Qt.Key.Key_Right)
    assert asked[-1] == (1000.0, 2500.0)


def test_the_minimaps_box_lies_where_the_view_is(bench):
    form = bench.show(SlideForm(bench.session))
    bench.session.attach_slide(FakeSlide(shape=(2000, 4000)))
    minimap = child(form, "slide-minimap")
    bench.until(minimap.isVisible)
    minimap.show_picture(_picture())
    minimap.show_rect((500.0, 1000.0, 1500.0, 3000.0))
    seen = minimap.grab().toImage()
    scale = seen.width() / minimap.width()
    inside = seen.pixelColor(round(minimap.width() * 0.5 * scale), round(minimap.height() * 0.5 * scale))
    left = (minimap.width() - 2 * minimap.height()) / 2 + 0.25 * 2 * minimap.height()
    row = round(minimap.height() * 0.5 * scale)
    edge = {seen.pixelColor(round((left + step) * scale), row).name() for step in range(-4, 5)}
    assert inside == QColor(Qt.GlobalColor.green)
    assert len(edge) > 1


def _picture():
    picture = QImage(400, 200, QImage.Format.Format_RGB888)
    picture.fill(Qt.GlobalColor.green)
    return picture


def test_without_a_model_the_user_reads_what_to_do(bench):
    form = bench.show(ModelForm(bench.session))
    assert "Choose a model and press Load" in text(form, "predictions-waiting")


def test_a_model_without_a_slide_asks_for_a_slide(bench):
    form = bench.show(ModelForm(bench.session))
    bench.session.set_model(fake_model())
    bench.until(lambda: "Open a slide" in text(form, "predictions-waiting"))


def test_a_slide_of_unknown_scale_asks_for_its_pixel_size(bench):
    form = bench.show(SectionDock(bench.session, ModelForm(bench.session)))
    bench.session.set_model(fake_model())
    bench.session.attach_slide(FakeSlide(mpp=None))
    bench.until(lambda: "Type the pixel size" in text(form, "predictions-waiting"))
    assert "The analysis waits" in text(form, "notice-text")
    assert not child(form, "notice-dismiss").isVisible()


def test_predictions_say_score_share_and_how_much_was_analysed(bench):
    form = bench.show(ModelForm(bench.session))
    bench.analyse()
    bench.until(lambda: form.findChild(QLabel, "task-basophils-value") is not None)
    bench.until(lambda: text(form, "task-basophils-value") == "score 0.25")
    assert text(form, "task-neutrophils-value") == "25%"
    assert text(form, "predictions-scope") == "3 of 12 tissue tiles: region-level (partial)"
    assert text(form, "predictions-view") == "In view: 2 of 4 tiles"
    assert text(form, "predictions-pace") == "Running on the CPU · 31 tiles/s · 5 waiting"
    assert child(form, "task-basophils-bar").fraction == 0.25
    assert text(form, "task-basophils-possible") == ""


def test_a_complete_result_is_slide_level(bench):
    form = bench.show(ModelForm(bench.session))
    bench.analyse(known=12, total=12)
    bench.until(lambda: text(form, "predictions-scope") == "12 of 12 tissue tiles: slide-level")


def test_a_task_with_several_classes_shows_each(bench):
    stains = Classification(name="stain", title="Stain", classes=("H&E", "IHC", "Giemsa"))
    model, slide = fake_model(tasks=(stains,)), FakeSlide()
    form = bench.show(ModelForm(bench.session))
    bench.session.attach_slide(slide)
    bench.session.set_model(model)
    bench.session.settle(5)
    report = fake_report(slide, model)
    answer = SimpleNamespace(
        task=stains,
        value=None,
        class_values=(0.2, 0.7, 0.1),
        calibrated=True,
        word="probability",
        possible=SimpleNamespace(names=("H&E", "IHC"), coverage=0.9),
        scope="slide",
        areas_mm2=(),
    )
    report.result = fake_result(slide, model)
    report.result.tasks = (answer,)
    bench.analyses[-1].on_report(report)
    bench.until(lambda: form.findChild(QLabel, "task-stain-class-2") is not None)
    assert text(form, "task-stain-value") == "IHC: probability 0.70"
    assert [child(form, f"task-stain-class-{index}").whole for index in range(3)] == [
        "H&E 0.20",
        "IHC 0.70",
        "Giemsa 0.10",
    ]
    bars = [child(form, f"task-stain-class-{index}-bar") for index in range(3)]
    bench.until(lambda: len({(bar.x(), bar.width()) for bar in bars}) == 1)  # or lengths could not be compared
    assert text(form, "task-stain-possible") == "At 90 % coverage: H&E or IHC, so undecided"
    assert "not for a single patient" in child(form, "task-stain-possible").toolTip()


def test_switching_the_model_takes_the_old_answers_away(bench):
    form = bench.show(ModelForm(bench.session))
    bench.analyse()
    bench.until(lambda: form.findChild(QLabel, "task-neutrophils-value") is not None)
    bench.session.set_model(fake_model("other", tasks=TASKS[:1]))
    bench.until(lambda: form.findChild(QLabel, "task-neutrophils-value") is None)
    assert text(form, "task-basophils-value") == "…"
    assert text(form, "predictions-scope") == ""


def test_choosing_a_task_shows_its_heatmap(bench):
    form = bench.show(ModelForm(bench.session))
    bench.analyse()
    bench.until(lambda: form.findChild(QAbstractButton, "task-neutrophils-choose") is not None)
    bench.qtbot.mouseClick(child(form, "task-neutrophils-choose"), Qt.MouseButton.LeftButton)
    assert bench.session.overlay.task == "neutrophils"
    bench.session.set_overlay(task="basophils")
    bench.until(child(form, "task-basophils-choose", QAbstractButton).isChecked)


def test_pause_and_resume_show_what_they_do_next(bench):
    form = bench.show(ModelForm(bench.session))
    bench.analyse()
    button = child(form, "predictions-pause", QAbstractButton)
    bench.until(button.isVisible)
    assert button.text() == "Pause (K)"
    bench.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert bench.session.paused
    bench.until(lambda: button.text() == "Resume (K)")


def test_the_chooser_lists_models_with_their_cards_and_loads_one(bench, monkeypatch):
    model = fake_model("smear", made_for="blood smears")
    model.card.attribution = "Real cells of a public data set."
    model.card.metrics = {"basophils": {"auc": 0.93, "auc_floor": 0.5, "auc_low": 0.9, "auc_high": 0.95}}
    offers = (
        ModelOffer(name="smear", title="Smear", card=model.card),
        ModelOffer(name="bad", title="bad", problem="Its weights are missing."),
    )
    monkeypatch.setattr("napari_mtlpath.viewer.docks.model_chooser.model_offers", lambda: offers)
    monkeypatch.setattr("napari_mtlpath.zoo.any_model.load_any", lambda name, device="auto": model)
    form = bench.show(ModelForm(bench.session))
    models = child(form, "model-list", QComboBox)
    bench.until(lambda: models.count() == 2)
    assert text(form, "model-made-for") == "This model was made for blood smears."
    bench.qtbot.mouseClick(child(form, "model-about"), Qt.MouseButton.LeftButton)
    card = child(form, "model-card", QPlainTextEdit)
    assert card.isVisible()
    assert "auc 0.93 (95 % 0.9 to 0.95); the trivial answer reaches 0.5" in card.toPlainText()
    models.setCurrentIndex(1)
    assert text(form, "model-summary") == "Its weights are missing."
    assert not child(form, "model-load").isEnabled()
    models.setCurrentIndex(0)
    bench.qtbot.mouseClick(child(form, "model-load"), Qt.MouseButton.LeftButton)
    bench.until(lambda: bench.session.model is model)
    bench.until(lambda: child(form, "model-load", QAbstractButton).text() == "In use")


def test_a_model_that_does_not_load_is_told_and_can_be_tried_again(bench, monkeypatch):
    offers = (ModelOffer(name="smear", title="Smear", card=_card("smear")),)
    monkeypatch.setattr("napari_mtlpath.viewer.docks.model_chooser.model_offers", lambda: offers)

    def broken(name, device="auto"):
        raise ValueError("The weights do not fit.")

    monkeypatch.setattr("napari_mtlpath.zoo.any_model.load_any", broken)
    form = bench.show(SectionDock(bench.session, ModelForm(bench.session)))
    button = child(form, "model-load", QAbstractButton)
    bench.until(button.isEnabled)
    bench.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    bench.until(lambda: text(form, "notice-text") == "The weights do not fit.")
    bench.until(button.isEnabled)


def _card(name):
    card = fake_model(name).card
    card.attribution = ""
    return card


def test_overlays_wait_for_a_model(bench):
    form = bench.show(OverlayForm(bench.session))
    assert "once a model is loaded" in text(form, "overlay-hint")
    assert not child(form, "overlay-controls").isVisible()


def test_overlay_controls_and_session_follow_each_other(bench):
    form = bench.show(OverlayForm(bench.session))
    bench.analyse()
    bench.until(child(form, "overlay-controls").isVisible)
    child(form, "overlay-opacity", QSlider).setValue(50)
    assert bench.session.overlay.opacity == 0.25
    child(form, "overlay-visible", QAbstractButton).click()
    assert not bench.session.overlay.visible
    bench.session.set_overlay(kind="attention", colormap="viridis", task="neutrophils")
    bench.until(child(form, "overlay-kind-attention", QAbstractButton).isChecked)
    assert child(form, "overlay-colormap", QComboBox).currentText() == "viridis"
    assert child(form, "overlay-task", QComboBox).currentText() == "Neutrophils"


def test_the_threshold_is_said_in_words_and_moves_the_legend(bench):
    form = bench.show(OverlayForm(bench.session))
    bench.analyse()
    bench.until(child(form, "overlay-controls").isVisible)
    bench.until(lambda: "above the average" in text(form, "overlay-threshold-words"))
    child(form, "overlay-threshold", QSlider).setValue(100)
    assert bench.session.overlay.threshold == 1.5
    bench.until(lambda: "at least 1.5 times the average" in text(form, "overlay-threshold-words"))
    legend = child(form, "overlay-legend")
    assert legend.ends == (1.0, 2.0)
    assert legend.hidden_below == 1.5


def test_kinds_that_the_model_lacks_are_disabled_with_the_reason(bench):
    form = bench.show(OverlayForm(bench.session))
    bench.analyse(kinds=("routing", "attention"))
    prediction = child(form, "overlay-kind-prediction", QAbstractButton)
    bench.until(lambda: not prediction.isEnabled())
    assert "whole slide, not tile by tile" in prediction.toolTip()
    assert child(form, "overlay-kind-routing", QAbstractButton).isEnabled()
    assert not child(form, "overlay-outline").isEnabled()
    assert child(form, "overlay-outline").isHidden()  # this result has no router


def test_legend_speaks_in_numbers_and_words(bench):
    form = bench.show(OverlayForm(bench.session))
    bench.analyse()
    bench.until(child(form, "overlay-controls").isVisible)
    assert child(form, "overlay-legend").ends == (1.0, 2.0)
    assert "Up to the average, 1, it is clear" in text(form, "overlay-legend-words")


def test_the_notice_bar_says_what_is_going_on(bench):
    bar = bench.show(NoticeBar(bench.session))
    with bench.session.working("Opening a.svs"):
        bench.until(lambda: text(bar, "notice-busy") == "Opening a.svs …")
    bench.session.say(Level.WARNING, MARKUP)
    bench.until(lambda: text(bar, "notice-text") == MARKUP)
    assert child(bar, "notice-text", QLabel).textFormat() == Qt.TextFormat.PlainText


def test_the_research_line_is_always_there(bench):
    dock = bench.show(SectionDock(bench.session, OverlayForm(bench.session)))
    assert text(dock, "research-use") == "Research use only. Not for diagnosis."
    assert child(dock, "research-use").isVisible()


def test_the_panel_remembers_which_sections_were_open(bench, tmp_path):
    preferences = PanelPreferences(tmp_path / "panel.json")
    panel = bench.show(PanelForm(bench.session, preferences=preferences))
    overlays = child(panel, "section-overlays")
    assert overlays.is_open
    bench.qtbot.mouseClick(child(panel, "section-overlays-heading"), Qt.MouseButton.LeftButton)
    bench.until(lambda: preferences.read().get("overlays") is False)
    again = bench.show(PanelForm(bench.session, preferences=preferences))
    bench.until(lambda: not child(again, "section-overlays").is_open)
    assert child(again, "section-slide").is_open


def test_everything_that_can_be_touched_has_a_name_and_a_tooltip(bench):
    panel = bench.show(PanelForm(bench.session, preferences=PanelPreferences()))
    bench.analyse()
    bench.until(lambda: panel.findChild(QAbstractButton, "task-basophils-choose") is not None)
    touched = [*panel.findChildren(QAbstractButton), *panel.findChildren(QSlider), *panel.findChildren(QComboBox)]
    touched += panel.findChildren(QLineEdit)
    missing = [
        widget.objectName() or str(widget) for widget in touched if not (widget.objectName() and widget.toolTip())
    ]
    assert [name for name in missing if not name.startswith("qt_")] == []


def test_a_section_that_is_gone_hears_nothing(bench):
    form = bench.show(ModelForm(bench.session))
    form.deleteLater()
    bench.until(lambda: not _alive(form))
    bench.analyse()
    bench.session.say(Level.INFO, "nobody listens")


def _alive(widget):
    try:
        widget.objectName()
    except RuntimeError:
        return False
    return True

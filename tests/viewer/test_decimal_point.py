"""Numbers mean the same on a computer of any language."""

from collections.abc import Iterator

import pytest
from pytestqt.qtbot import QtBot
from qtpy.QtCore import QLocale, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QDoubleSpinBox, QLineEdit

from napari_mtlpath.session.config_fields import ConfigField
from napari_mtlpath.viewer.docks.config_form import ConfigForm
from napari_mtlpath.viewer.docks.decimal_point import read_point_and_comma


@pytest.fixture(params=["de_DE", "en_US", "fr_CH"])
def language(request: pytest.FixtureRequest) -> Iterator[str]:
    before = QLocale()
    QLocale.setDefault(QLocale(request.param))
    yield request.param
    QLocale.setDefault(before)


def typed(field: QDoubleSpinBox, text: str) -> float:
    field.selectAll()
    QTest.keyClicks(field, text)
    field.interpretText()
    return field.value()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0.25", 0.25), ("0,25", 0.25), ("1.5", 1.5), ("12,5", 12.5), ("1.500", 1.5), ("-2,125", -2.125), ("1500", 1500)],
)
@pytest.mark.usefixtures("language")
def test_a_point_and_a_comma_are_the_same(qtbot: QtBot, text: str, value: float) -> None:
    field = QDoubleSpinBox()
    qtbot.addWidget(field)
    read_point_and_comma(field)
    field.setRange(-1e6, 1e6)
    field.setDecimals(3)
    assert typed(field, text) == pytest.approx(value)
    assert field.text() == f"{value:.3f}"


@pytest.mark.parametrize(("text", "value"), [("1,500", 1.5), ("0,25", 0.25), ("1.234,5", 3), ("much", 3)])
@pytest.mark.usefixtures("language")
def test_what_is_pasted_is_read_the_same_way_or_refused(qtbot: QtBot, text: str, value: float) -> None:
    field = QDoubleSpinBox()
    qtbot.addWidget(field)
    read_point_and_comma(field)
    field.setRange(0, 1e6)
    field.setDecimals(3)
    field.setValue(3)
    QApplication.clipboard().setText(text)
    line = field.findChild(QLineEdit)
    line.selectAll()
    line.paste()
    field.interpretText()
    assert field.value() == value


@pytest.mark.usefixtures("language")
def test_a_setting_of_a_training_is_what_was_typed(qtbot: QtBot) -> None:
    rate = ConfigField(name="learning_rate", annotation=float, default=0.001, low=0.0, high=1.0)
    form = ConfigForm("test", [rate])
    qtbot.addWidget(form)
    field = form.findChild(QDoubleSpinBox, "test-learning_rate")
    assert "," not in field.text()
    typed(field, "0.01")
    assert form.changes == {"learning_rate": pytest.approx(0.01)}
    typed(field, "0,02")
    assert form.changes == {"learning_rate": pytest.approx(0.02)}


@pytest.mark.parametrize("text", ["", "-", "0,5"])
def test_an_unfinished_or_too_small_number_leaves_the_one_of_before(qtbot: QtBot, text: str) -> None:
    field = QDoubleSpinBox()
    qtbot.addWidget(field)
    read_point_and_comma(field)
    field.setRange(1, 10)
    field.setValue(3)
    field.selectAll()
    QTest.keyClick(field, Qt.Key.Key_Delete)
    QTest.keyClicks(field, text)
    QTest.keyClick(field, Qt.Key.Key_Return)
    assert (field.value(), field.text()) == (3, "3.00")


def test_without_it_a_german_computer_reads_ten_times_as_much(qtbot: QtBot) -> None:
    """What this is for; where Qt changes, it may go."""
    field = QDoubleSpinBox()
    qtbot.addWidget(field)
    field.setLocale(QLocale("de_DE"))
    assert typed(field, "1.5") == 15

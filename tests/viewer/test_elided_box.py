"""A box to choose from whose text does not fit."""

import pytest
from qtpy.QtCore import QEvent, QPoint
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication, QToolTip

from napari_mtlpath.viewer.docks.elided_box import ElidedBox

pytestmark = pytest.mark.gui

LONG = "Blood cells of three laboratories (tile by tile)"


@pytest.fixture
def box(qtbot):
    box = ElidedBox()
    qtbot.addWidget(box)
    box.addItems([LONG, "Short"])
    box.setToolTip("Which models there are.")
    box.resize(160, 28)
    box.show()
    qtbot.waitExposed(box)
    return box


def hover(box):
    """Rest with the mouse on a box, and return what is said."""
    QToolTip.hideText()
    where = QPoint(5, 5)
    QApplication.sendEvent(box, QHelpEvent(QEvent.Type.ToolTip, where, box.mapToGlobal(where)))
    return QToolTip.text()


def test_a_text_that_does_not_fit_ends_in_dots_and_is_said_in_whole_by_the_tooltip(box, qtbot):
    assert box.shown_text.endswith("…")
    assert LONG.startswith(box.shown_text[:-1])
    assert LONG in hover(box)
    assert "Which models there are." in hover(box)
    box.setCurrentIndex(1)
    assert box.shown_text == "Short"
    assert "Short" not in hover(box)
    box.setCurrentIndex(0)
    box.resize(700, 28)
    assert box.shown_text == LONG
    assert not box.grab().isNull()


def test_without_a_choice_the_placeholder_is_shortened(box):
    box.setPlaceholderText("Looking for models in all folders that there are…")
    box.setCurrentIndex(-1)
    assert box.shown_text.startswith("Looking for")
    assert box.shown_text.endswith("…")
    assert not box.grab().isNull()

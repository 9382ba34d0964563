"""A slide file dropped onto napari's window, as a mouse does it."""

import pytest
from qtpy.QtCore import QMimeData, QPoint, QPointF, Qt, QTimer, QUrl
from qtpy.QtGui import QDragEnterEvent, QDropEvent
from qtpy.QtWidgets import QApplication, QDialog, QRadioButton, QWidget
from synthetic import tissue, write_aperio_like

from napari_mtlpath.viewer.binding import binding_of

pytestmark = pytest.mark.gui


def choose_our_reader() -> None:
    """Answer napari's question, which it asks for every kind of file that its own readers claim too."""
    dialog = QApplication.activeModalWidget()
    if not isinstance(dialog, QDialog):
        QTimer.singleShot(50, choose_our_reader)
        return
    (button,) = [button for button in dialog.findChildren(QRadioButton) if button.text() == "MTLPath"]
    button.click()
    dialog.accept()


def test_a_slide_dropped_onto_the_window_is_opened(make_napari_viewer, until, tmp_path):
    path = tmp_path / "dropped.svs"
    write_aperio_like(path, tissue(1024, 1024))
    viewer = make_napari_viewer(show=True)
    window = viewer.window.main_menu.window()
    target = next(widget for widget in window.findChildren(QWidget) if type(widget).__name__ == "QtViewer")
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    action, button, keys = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    entering = QDragEnterEvent(QPoint(20, 20), action, data, button, keys)
    QApplication.sendEvent(target, entering)
    assert entering.isAccepted()
    QTimer.singleShot(50, choose_our_reader)
    QApplication.sendEvent(target, QDropEvent(QPointF(20, 20), action, data, button, keys))
    until(lambda: binding_of(viewer).slide_layer() is not None)
    assert binding_of(viewer).session.slide.path == path

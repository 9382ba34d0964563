"""The Qt binding that the viewer stands on."""

import sys

import pytest
from qtpy.QtCore import QObject, Signal


class _Source(QObject):
    told = Signal(object)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="None and True are immortal from Python 3.12 on")
def test_qt_calls_keep_the_reference_counts_of_none_and_true(qapp):
    """PySide6 6.12.0 loses one per call, and Python 3.11 aborts when none is left."""
    source = _Source()
    before = sys.getrefcount(None), sys.getrefcount(True)
    for number in range(200):
        source.told.emit(number)
        qapp.processEvents()
    assert sys.getrefcount(None) > before[0] - 100
    assert sys.getrefcount(True) > before[1] - 100

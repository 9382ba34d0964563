"""Calls from other threads reach the GUI thread one by one, and neither crash nor hang it."""

import subprocess
import sys
import threading

import pytest
from qtpy import PYSIDE6
from superqt.utils import ensure_main_thread

from napari_mtlpath.viewer.handover import make_handover_safe

MANY_CALLS = """
import threading, time
from qtpy.QtWidgets import QApplication
from superqt.utils import ensure_main_thread
from napari_mtlpath.viewer.handover import make_handover_safe

app = QApplication([])
make_handover_safe()
make_handover_safe()
received = []

class Receiver:
    @ensure_main_thread
    def ready(self, number):
        received.append((number, threading.current_thread() is threading.main_thread()))
        sum(range(200))

def send():
    for number in range(12000):
        receiver.ready(number)
        time.sleep(0.0002)

receiver = Receiver()
thread = threading.Thread(target=send)
thread.start()
end = time.monotonic() + 60
while len(received) < 12000 and time.monotonic() < end:
    app.processEvents()
    time.sleep(0.0005)
thread.join()
assert received == [(number, True) for number in range(12000)]
print("all received in order", flush=True)
import os
os._exit(0)
"""


@pytest.mark.gui
def test_many_calls_from_another_thread_do_not_crash_the_program() -> None:
    ran = subprocess.run([sys.executable, "-c", MANY_CALLS], capture_output=True, text=True, timeout=280, check=False)
    assert "all received in order" in ran.stdout, f"{ran.returncode}\n{ran.stderr[-2000:]}"


@pytest.mark.gui
@pytest.mark.skipif(not PYSIDE6, reason="only PySide6 needs it")
def test_an_error_reaches_the_thread_that_waits_and_the_viewer(qtbot) -> None:
    assert make_handover_safe()
    heard = []

    @ensure_main_thread(await_return=True, timeout=60000)
    def fail() -> None:
        raise ValueError("as asked")

    def work() -> None:
        try:
            fail()
        except ValueError as error:
            heard.append(str(error))

    with qtbot.captureExceptions() as shown:
        thread = threading.Thread(target=work)
        thread.start()
        qtbot.waitUntil(lambda: bool(heard), timeout=60_000)
    thread.join()
    assert heard == ["as asked"]
    assert [str(each[1]) for each in shown] == ["as asked"]

"""Makes the way from other threads to the GUI thread safe under PySide6, for napari's asynchronous slicing too.

superqt's ``ensure_main_thread`` makes a Qt object in the calling thread for every call and gives it to the GUI thread.
With PySide6 (seen from 6.8 to 6.12 with superqt 0.9) the object can be taken apart by both threads at once, and the
program crashes or hangs. napari's slicing thread makes such a call for every slice when the user has asynchronous
slicing on. Here one object that lives in the GUI thread receives all those calls instead; PyQt6 does not need it.
"""

import inspect
import logging
from collections.abc import Callable
from concurrent.futures import Future
from types import ModuleType
from typing import Any

from qtpy import PYSIDE6
from qtpy.QtCore import QObject, Qt, QThread, Signal
from superqt.utils import ensure_main_thread

logger = logging.getLogger(__name__)

Call = Callable[[], None]

EXPECTED = ["func", "thread", "await_return", "timeout", "args", "kwargs"]
"""The parameters of superqt's function that is replaced; with any others it is left as it is."""


class _Receiver(QObject):
    """Runs what other threads ask for, in the thread that made it."""

    asked = Signal(object)

    def __init__(self) -> None:
        super().__init__()
        self.asked.connect(self._run, Qt.ConnectionType.QueuedConnection)

    def _run(self, call: Call) -> None:
        call()


def make_handover_safe() -> bool:
    """Let one lasting object receive all calls that superqt sends to this thread; call it in the GUI thread.

    Returns
    -------
    bool
        Whether superqt's way has been replaced, now or before. False with another Qt binding, and
        with a superqt that is built differently.
    """
    module = inspect.getmodule(inspect.unwrap(ensure_main_thread))
    original = getattr(module, "_run_in_thread", None)
    if not PYSIDE6 or module is None or original is None:
        return False
    if getattr(original, "receiver", None) is not None:
        return True
    if list(inspect.signature(original).parameters) != EXPECTED:
        logger.info("superqt is not as expected; with asynchronous slicing, PySide6 may crash")
        return False
    _replace(module, original)
    return True


def _replace(module: ModuleType, original: Callable[..., Any]) -> None:
    receiver = _Receiver()

    def run_in_thread(
        func: Callable[..., Any],
        thread: QThread,
        await_return: bool,
        timeout: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        if thread is QThread.currentThread() or thread is not receiver.thread():
            return original(func, thread, await_return, timeout, args, kwargs)
        future: Future[Any] = Future()

        def call() -> None:
            try:
                future.set_result(func(*args, **kwargs))
            except Exception as error:  # The waiting thread hears of it, and napari shows it as it would have.
                future.set_exception(error)
                raise

        receiver.asked.emit(call)
        return future.result(timeout=timeout / 1000) if await_return else future

    run_in_thread.receiver = receiver  # type: ignore[attr-defined]  # the mark that it is in place, and its life
    module._run_in_thread = run_in_thread  # type: ignore[attr-defined]

"""Threads that end with a sentence instead of a traceback nobody sees."""

import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


def start_thread(name: str, work: Callable[[], None], *, on_failure: Callable[[Exception], None]) -> threading.Thread:
    """Run `work` in a daemon thread; what it raises goes to `on_failure` in that thread.

    A daemon, because a read from a hung network drive cannot be interrupted and must not keep the program from ending.
    """

    def run() -> None:
        try:
            work()
        except Exception as error:  # the outermost frame of a thread: there is no caller to handle it
            logger.debug("Thread %s failed", name, exc_info=error)
            on_failure(error)

    thread = threading.Thread(target=run, name=name, daemon=True)
    thread.start()
    return thread


def sentence_of(error: BaseException) -> str:
    """Return an error's own sentence, or its kind where it has none."""
    text = str(error).strip()
    if isinstance(error, OSError | ValueError) and text:
        return text
    return f"The analysis stopped: {type(error).__name__}{': ' + text if text else ''}."

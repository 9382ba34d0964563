"""Work for the child processes of test_isolation: it must be importable there by name."""

import atexit
import os
import time
from collections.abc import Callable, Iterator


def prepare() -> Callable[[str], Iterator[str]]:
    return work


def prepare_fails() -> Callable[[str], Iterator[str]]:
    raise ValueError("There is no model 'x'.")


def prepare_farewell() -> Callable[[str], Iterator[str]]:
    atexit.register(time.sleep, 600)
    return work


def work(item: str) -> Iterator[str]:
    yield f"started {item}"
    match item:
        case "error":
            raise ValueError("the file is\nbroken")
        case "end of file":
            raise EOFError("cut short")
        case "crash":
            os.abort()
        case "hang":
            time.sleep(600)
    yield f"finished {item}"

"""Work on untrusted files in a child process: a file that crashes or hangs the decoder costs that file, no more."""

import contextlib
import gc
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Generic, NoReturn, TypeVar

Item = TypeVar("Item")
Report = TypeVar("Report")

GOODBYE_SECONDS = 10.0

# What files and models of others raise. Anything else is a fault of this program and ends the child with a traceback.
_EXPECTED = (OSError, ValueError, ImportError, RuntimeError, MemoryError, ArithmeticError, LookupError, EOFError)


@dataclass(frozen=True, kw_only=True)
class Failed:
    """An item that could not be worked on, with the reason in one sentence.

    Attributes
    ----------
    message
        What a person reads.
    fatal
        Whether no other item can work either, such as when the model cannot be loaded.
    """

    message: str
    fatal: bool = False


@dataclass(frozen=True, kw_only=True)
class _Ended:
    pass


class IsolatedWork(Generic[Item, Report]):
    """Runs a generator function for one item after another in a child process that is replaced when it dies.

    Parameters
    ----------
    prepare
        Called once in each child; what it returns works on an item and yields reports. Importable by name; what it
        loads (a model, torch) is never loaded in the parent. An error it raises is fatal.
    silence_seconds
        How long a child may say nothing before it is ended.
    """

    def __init__(self, prepare: Callable[[], Callable[[Item], Iterator[Report]]], *, silence_seconds: float) -> None:
        self.prepare = prepare
        self.silence_seconds = silence_seconds
        # Not fork: decoders and torch hold threads and locks that do not survive it.
        self._context = multiprocessing.get_context("spawn")
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None
        self._number = 0

    def run(self, item: Item) -> Iterator[Report | Failed]:
        """Work on one item; yields its reports, and :class:`Failed` last where it could not be finished."""
        pipe = self._child()
        self._number += 1
        number = self._number
        pipe.send((number, item))
        while True:
            try:
                answer = pipe.recv() if pipe.poll(self.silence_seconds) else None
            except (EOFError, OSError):
                yield Failed(message=self._obituary())
                return
            if answer is not None and answer[0] != number:
                continue  # still about an item whose reports nobody read to the end
            said = answer[1] if answer is not None else None
            match said:
                case None:
                    self._end(patience=0.0)
                    seconds = f"{self.silence_seconds:.0f} s"
                    yield Failed(message=f"Nothing was heard from its process for {seconds}, so it was ended.")
                    return
                case _Ended():
                    return
                case Failed():
                    yield said
                    return
                case _:
                    yield said

    def close(self) -> None:
        """End the child. What it is writing is finished first if that takes less than ten seconds."""
        self._end(patience=GOODBYE_SECONDS)

    def _child(self) -> Connection:
        if self._process is not None and self._pipe is not None and self._process.is_alive():
            return self._pipe
        self._end(patience=0.0)
        self._pipe, theirs = self._context.Pipe()
        self._process = self._context.Process(target=_serve, args=(theirs, self.prepare), daemon=True)
        self._process.start()
        theirs.close()
        return self._pipe

    def _obituary(self) -> str:
        process = self._process
        if process is not None:
            process.join(GOODBYE_SECONDS)
        code = process.exitcode if process is not None else None
        how = f"signal {-code}" if code is not None and code < 0 else f"exit status {code}"
        self._end(patience=0.0)
        return f"The process that worked on it ended unexpectedly ({how}): the file may be damaged or memory was short."

    def _end(self, *, patience: float) -> None:
        process, self._process = self._process, None
        pipe, self._pipe = self._pipe, None
        if pipe is not None:
            pipe.close()  # the child sees the end of the pipe at its next report and leaves
        if process is not None:
            process.join(patience)
            if process.is_alive():
                process.kill()
                process.join()


def _serve(pipe: Connection, prepare: Callable[[], Callable[[Item], Iterator[Report]]]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which closes the pipe
    try:
        with loading_only():
            work = prepare()
    except _EXPECTED as error:
        _answer_every_item(pipe, Failed(message=str(error) or type(error).__name__, fatal=True))
        leave()
    try:
        while True:
            number, item = pipe.recv()
            _work_on(number, item, work, pipe)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        leave()


def leave() -> NoReturn:
    """End this process now: taking torch apart first takes half a second, and all that counts is on disk."""
    sys.stdout.flush()
    sys.stderr.flush()
    logging.shutdown()
    os._exit(0)


@contextlib.contextmanager
def loading_only() -> Iterator[None]:
    """Look for no garbage meanwhile, nor ever in what is loaded: a process that imports and loads makes none.

    Looking again and again through the hundred thousands of objects that importing torch makes takes a sixth of the
    import's time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()


def _work_on(number: int, item: Item, work: Callable[[Item], Iterator[Report]], pipe: Connection) -> None:
    reports = work(item)
    while True:
        said: Report | Failed | _Ended
        try:
            said = next(reports, _Ended())
        except _EXPECTED as error:
            said = Failed(message=str(error) or type(error).__name__)
        pipe.send((number, said))
        if isinstance(said, Failed | _Ended):
            return


def _answer_every_item(pipe: Connection, answer: Failed) -> None:
    try:
        while True:
            number, _ = pipe.recv()
            pipe.send((number, answer))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return

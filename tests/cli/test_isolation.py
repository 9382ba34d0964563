"""One bad item in a child process costs that item, no more."""

import gc
import os

import isolation_work  # beside this file; pytest puts the folder on sys.path, and a child process is given the same
import pytest

from napari_mtlpath.cli.isolation import Failed, IsolatedWork, loading_only


@pytest.fixture
def work():
    made = IsolatedWork(isolation_work.prepare, silence_seconds=60.0)
    yield made
    made.close()


def test_reports_arrive_in_order(work) -> None:
    assert list(work.run("a")) == ["started a", "finished a"]


@pytest.mark.parametrize(("item", "sentence"), [("error", "the file is\nbroken"), ("end of file", "cut short")])
def test_an_error_is_one_failed_item_and_the_next_is_done(work, item: str, sentence: str) -> None:
    assert list(work.run(item)) == [f"started {item}", Failed(message=sentence)]
    assert list(work.run("b"))[-1] == "finished b"


def test_a_crash_is_one_failed_item_and_the_next_is_done(work) -> None:
    *_, last = work.run("crash")
    assert isinstance(last, Failed)
    assert "ended unexpectedly" in last.message
    assert not last.fatal
    assert list(work.run("b"))[-1] == "finished b"


def test_a_hang_is_ended_and_the_next_is_done() -> None:
    work = IsolatedWork(isolation_work.prepare, silence_seconds=3.0)
    try:
        *_, last = work.run("hang")
        assert isinstance(last, Failed)
        assert "Nothing was heard" in last.message
        assert list(work.run("b"))[-1] == "finished b"
    finally:
        work.close()


def test_a_model_that_cannot_be_loaded_is_fatal() -> None:
    work = IsolatedWork(isolation_work.prepare_fails, silence_seconds=60.0)
    try:
        assert list(work.run("a")) == [Failed(message="There is no model 'x'.", fatal=True)]
    finally:
        work.close()


def test_reports_that_nobody_read_are_not_taken_for_those_of_the_next_item(work) -> None:
    assert next(work.run("a")) == "started a"
    assert list(work.run("b")) == ["started b", "finished b"]


def test_closing_leaves_no_process(work) -> None:
    next(work.run("a"))
    process = work._process
    work.close()
    assert process is not None
    assert not process.is_alive()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)


def test_a_finished_child_leaves_without_farewells() -> None:
    work = IsolatedWork(isolation_work.prepare_farewell, silence_seconds=60.0)
    assert list(work.run("a"))[-1] == "finished a"
    process = work._process
    work.close()
    assert process is not None
    assert process.exitcode == 0  # not killed: it went by itself, although its farewell takes ten minutes


@pytest.mark.parametrize("enabled", [True, False])
def test_no_garbage_is_looked_for_while_loading_nor_ever_in_what_was_loaded(enabled: bool) -> None:
    before, frozen = gc.isenabled(), gc.get_freeze_count()
    (gc.enable if enabled else gc.disable)()
    try:
        with loading_only():
            assert not gc.isenabled()
        assert gc.isenabled() is enabled
        assert gc.get_freeze_count() > frozen
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()

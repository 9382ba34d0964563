"""Slow work in a thread: results, reports, failures and cancelling."""

import threading

import pytest

from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer import worker
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.mailbox import Mailbox
from napari_mtlpath.viewer.worker import run, sentence_of


@pytest.fixture
def said(monkeypatch):
    told = []
    monkeypatch.setattr(worker, "show_error", told.append)
    return told


def test_a_result_arrives_in_the_gui_thread(until):
    heard = []
    job = run(
        lambda: threading.current_thread(), on_done=lambda value: heard.append((value, threading.current_thread()))
    )
    until(lambda: bool(heard))
    worked_in, heard_in = heard[0]
    assert worked_in is not threading.main_thread()
    assert heard_in is threading.main_thread()
    assert job.wait(60)


def test_a_generators_reports_arrive_in_order_and_then_its_return(until):
    def count():
        yield from range(5)
        return "end"

    heard = []
    run(count(), on_report=heard.append, on_done=heard.append)
    until(lambda: heard[-1:] == ["end"])
    assert heard == [0, 1, 2, 3, 4, "end"]


def test_a_cancelled_generator_is_closed_and_says_nothing_more(until):
    closed, go_on, heard = threading.Event(), threading.Event(), []

    def endless():
        try:
            while True:
                yield 1
                go_on.wait(60)
        finally:
            closed.set()

    job = run(endless(), on_report=heard.append, on_done=heard.append)
    until(lambda: bool(heard))
    job.cancel()
    count = len(heard)
    go_on.set()
    assert closed.wait(60)
    assert job.wait(60)
    until(lambda: not job.running)
    assert len(heard) == count


def test_a_failure_is_told_once_in_its_own_words(until, said):
    def fail():
        raise ValueError("Expected a slide; found a letter. Choose another file.")

    run(fail)
    until(lambda: bool(said))
    assert said == ["Expected a slide; found a letter. Choose another file."]


def test_an_unforeseen_failure_is_named_and_logged(until, said, caplog):
    run(lambda: {}["nothing"])
    until(lambda: bool(said))
    assert "KeyError" in said[0]
    assert "failed" in caplog.text


def test_whoever_asks_gets_the_failure_instead(until, said):
    heard = []
    run(lambda: 1 / 0, on_error=heard.append)
    until(lambda: bool(heard))
    assert isinstance(heard[0], ZeroDivisionError)
    assert said == []


def test_sentences_of_known_errors_are_their_own():
    assert sentence_of(FileNotFoundError("no such slide")) == "no such slide"
    assert "unforeseen" in sentence_of(RuntimeError("x"))


def test_a_closed_mailbox_delivers_not_even_what_is_queued(qapp, until):
    heard, other = [], []
    closed, kept = Mailbox(heard.append), Mailbox(other.append)
    closed.post(1)
    kept.post(2)
    closed.close()
    closed.post(3)
    until(lambda: other == [2])
    assert heard == []


def test_posting_from_many_threads_loses_nothing(until):
    heard = []
    mailbox = Mailbox(heard.append)
    threads = [
        threading.Thread(target=lambda start=i: [mailbox.post(start * 100 + n) for n in range(100)]) for i in range(8)
    ]
    for thread in threads:
        thread.start()
    until(lambda: len(heard) == 800)
    for start in range(8):
        assert [one for one in heard if one // 100 == start] == list(range(start * 100, start * 100 + 100))
    mailbox.close()


def test_news_of_a_session_reach_the_gui_thread(until):
    session = Session()
    bridge, heard = Bridge(session), []
    bridge.overlay_changed.connect(lambda choice: heard.append((choice.opacity, threading.current_thread())))
    worker_thread = threading.Thread(target=lambda: session.set_overlay(opacity=0.25))
    worker_thread.start()
    until(lambda: bool(heard))
    assert heard == [(0.25, threading.main_thread())]
    bridge.close()
    session.set_overlay(opacity=0.75)
    session.close()
    assert len(heard) == 1

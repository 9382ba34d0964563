import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from napari_mtlpath.features.database import FeatureStoreError
from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.features.store import FeatureStore

WRITER = """
import sys
from pathlib import Path
import numpy as np
from napari_mtlpath.features.key import FeatureKey
from napari_mtlpath.features.store import FeatureStore
store = FeatureStore(Path(sys.argv[1]))
key = FeatureKey(slide="s", encoder="e", tiles="t", preprocessing="native")
first = int(sys.argv[2])
while True:
    indices = np.arange(first, first + 5)
    store.put(key, indices, np.repeat(indices[:, None], 64, axis=1).astype(np.float32))
    first += 5
    print(first, flush=True)
"""


def key_of(slide: str = "s") -> FeatureKey:
    return FeatureKey(slide=slide, encoder="e", tiles="t", preprocessing="native")


def vectors(indices, length=64) -> np.ndarray:
    return np.repeat(np.asarray(indices)[:, None], length, axis=1).astype(np.float32)


@pytest.fixture
def store(tmp_path):
    store = FeatureStore(tmp_path / "features.sqlite")
    yield store
    store.close()


def test_embeddings_come_back_bit_for_bit_in_ascending_order(store):
    features = np.random.default_rng(0).normal(size=(3, 64)).astype(np.float32)
    store.put(key_of(), np.array([9, 2, 5]), features)
    indices, found = store.get(key_of())
    assert indices.tolist() == [2, 5, 9]
    np.testing.assert_array_equal(found, features[[1, 2, 0]])
    assert store.count(key_of()) == 3


def test_only_the_tiles_asked_for_come_back(store):
    store.put(key_of(), np.arange(10), vectors(range(10)))
    indices, found = store.get(key_of(), np.array([3, 7, 99]))
    assert indices.tolist() == [3, 7]
    assert found[:, 0].tolist() == [3.0, 7.0]


def test_unknown_key_has_nothing(store):
    indices, found = store.get(key_of("other"))
    assert indices.size == 0
    assert found.shape == (0, 0)
    assert store.count(key_of("other")) == 0
    assert store.keys() == ()


@pytest.mark.parametrize("part", ["slide", "encoder", "tiles", "preprocessing"])
def test_each_part_of_the_key_tells_embeddings_apart(store, part):
    parts = {"slide": "s", "encoder": "e", "tiles": "t", "preprocessing": "native"}
    store.put(FeatureKey(**parts), np.array([1]), vectors([1]))
    assert store.count(FeatureKey(**{**parts, part: "x"})) == 0


@pytest.mark.parametrize("value", ["", "a|b"])
def test_key_that_could_be_mistaken_is_refused(value):
    with pytest.raises(ValueError, match="slide part of a feature key"):
        FeatureKey(slide=value, encoder="e", tiles="t", preprocessing="n")


def test_embeddings_survive_closing(store, tmp_path):
    store.put(key_of(), np.array([4]), vectors([4]))
    store.close()
    again = FeatureStore(tmp_path / "features.sqlite")
    assert again.count(key_of()) == 1
    assert again.notice == ""
    again.close()


def test_writing_again_replaces(store):
    store.put(key_of(), np.array([4]), vectors([4]))
    store.put(key_of(), np.array([4, 5]), vectors([7, 8]))
    assert store.get(key_of())[1][:, 0].tolist() == [7.0, 8.0]
    assert store.nbytes == 2 * 64 * 4


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (np.full((1, 64), np.nan, np.float32), "finite"),
        (np.zeros((2, 64), np.float32), "one embedding per tile"),
        (np.zeros(64, np.float32), "one embedding per tile"),
        (np.zeros((1, 32), np.float32), "length 64"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused_and_change_nothing(store, features, words):
    store.put(key_of(), np.array([1]), vectors([1]))
    with pytest.raises(ValueError, match=words):
        store.put(key_of(), np.array([2]), features)
    assert store.get(key_of())[0].tolist() == [1]


def test_unreadable_tiles_are_no_embeddings_until_they_are_read(store):
    store.put(key_of(), np.array([1]), vectors([1]))
    store.mark_unreadable(key_of(), np.array([1, 2, 3]))
    assert store.unreadable(key_of()).tolist() == [2, 3]
    assert store.get(key_of())[0].tolist() == [1]
    store.put(key_of(), np.array([3]), vectors([3]))
    assert store.unreadable(key_of()).tolist() == [2]
    assert store.nbytes == 2 * 64 * 4


def test_forgotten_key_is_gone_and_others_stay(store):
    store.put(key_of("a"), np.array([1]), vectors([1]))
    store.put(key_of("b"), np.array([1]), vectors([1]))
    store.forget(key_of("a"))
    assert store.count(key_of("a")) == 0
    assert store.count(key_of("b")) == 1


def test_slides_unused_for_longest_make_room(tmp_path):
    now = [0.0]
    store = FeatureStore(tmp_path / "f.sqlite", max_bytes=3 * 10 * 64 * 4, wall_clock=lambda: now[0])
    for slide in "abc":
        now[0] += 1
        store.put(key_of(slide), np.arange(10), vectors(range(10)))
    now[0] += 1
    store.get(key_of("a"))
    now[0] += 1
    store.put(key_of("d"), np.arange(10), vectors(range(10)))
    assert [store.count(key_of(slide)) for slide in "abcd"] == [10, 0, 10, 10]
    store.close()


def test_slide_being_written_is_never_dropped(tmp_path):
    store = FeatureStore(tmp_path / "f.sqlite", max_bytes=100)
    store.put(key_of(), np.arange(10), vectors(range(10)))
    store.put(key_of(), np.arange(10, 20), vectors(range(10, 20)))
    assert store.count(key_of()) == 20
    store.close()


@pytest.mark.parametrize("damage", ["garbage", "truncated", "header"])
def test_damaged_file_is_moved_aside_and_said(tmp_path, damage):
    path = tmp_path / "features.sqlite"
    store = FeatureStore(path)
    store.put(key_of(), np.arange(500), vectors(range(500)))
    store.close()
    content = path.read_bytes()
    match damage:
        case "garbage":
            path.write_bytes(os.urandom(5000))
        case "truncated":
            path.write_bytes(content[:5000])
        case "header":
            path.write_bytes(b"\0" * 100 + content[100:])
    store = FeatureStore(path)
    store.put(key_of("new"), np.array([1]), vectors([1]))
    store.get(key_of())
    assert store.count(key_of("new")) == 1 or store.notice
    assert "kept as features.sqlite.damaged-" in store.notice
    assert len(list(tmp_path.glob("features.sqlite.damaged-*"))) >= 1
    store.close()


def test_damage_met_while_reading_is_moved_aside_and_the_work_goes_on(tmp_path):
    path = tmp_path / "features.sqlite"
    store = FeatureStore(path)
    store.put(key_of(), np.arange(2000), vectors(range(2000)))
    store.close()
    content = bytearray(path.read_bytes())
    content[8192:] = os.urandom(len(content) - 8192)  # beyond the schema: opening alone does not see it
    path.write_bytes(content)
    store = FeatureStore(path)
    assert store.get(key_of())[0].size == 0
    assert "damaged" in store.notice
    store.put(key_of(), np.array([1]), vectors([1]))
    assert store.count(key_of()) == 1
    store.close()


def test_store_of_another_version_is_moved_aside(tmp_path):
    path = tmp_path / "features.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version=99")
    connection.close()
    store = FeatureStore(path)
    assert "another version" in store.notice
    store.close()


def test_folder_that_cannot_be_written_is_a_sentence(tmp_path):
    path = tmp_path / "features.sqlite"
    path.mkdir()
    with pytest.raises(FeatureStoreError, match="does not answer"):
        FeatureStore(path)


def test_closed_store_says_so(store):
    store.close()
    store.close()
    with pytest.raises(FeatureStoreError, match="closed"):
        store.count(key_of())


def test_full_disk_is_a_sentence_and_loses_nothing(tmp_path):
    store = FeatureStore(tmp_path / "f.sqlite")
    store.put(key_of(), np.arange(5), vectors(range(5)))
    pages = store._database.read(lambda c: c.execute("PRAGMA page_count").fetchone()[0])
    store._database.read(lambda c: c.execute(f"PRAGMA max_page_count={pages}").fetchone())
    with pytest.raises(FeatureStoreError, match="full"):
        store.put(key_of(), np.arange(5, 5000), vectors(range(5, 5000)))
    assert store.count(key_of()) == 5
    store.close()


def test_many_threads_write_and_read_at_once(store):
    errors = []

    def work(number):
        try:
            for step in range(20):
                indices = np.arange(step * 5, step * 5 + 5)
                store.put(key_of(f"s{number % 3}"), indices, vectors(indices))
                found, features = store.get(key_of(f"s{number % 3}"))
                np.testing.assert_array_equal(features[:, 0], found)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert [store.count(key_of(f"s{number}")) for number in range(3)] == [100, 100, 100]


def test_two_processes_share_a_store(store, tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "features.sqlite"), "0"], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(20):
        store.put(key_of("mine"), np.arange(5), vectors(range(5)))
        process.stdout.readline()
    process.kill()
    process.wait()
    process.stdout.close()
    assert store.count(key_of("mine")) == 5
    assert store.count(key_of()) >= 100


@pytest.mark.slow
def test_killed_writer_loses_no_acknowledged_tile(tmp_path):
    path = tmp_path / "features.sqlite"
    generator = random.Random(0)
    acknowledged = 0
    for _ in range(20):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(path), str(acknowledged)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        acknowledged = int(process.stdout.readline())
        time.sleep(generator.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        acknowledged = int(([str(acknowledged), *process.stdout.read().split()])[-1])
        process.wait()
        process.stdout.close()
        store = FeatureStore(path)
        indices, features = store.get(key_of())
        assert store.notice == ""
        store.close()
        assert set(range(acknowledged)) <= set(indices.tolist())
        np.testing.assert_array_equal(features, vectors(indices))

"""Retrieval of the K highest tiles: equal to counting by hand, to the closed form of a blind choice, and to law."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_mtlpath.evaluation.retrieval import Retrieval, retrieval_table, retrieve, sentence, summarise


def test_hits_and_shares_are_those_counted_by_hand():
    scores = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])
    abnormal = np.array([1, 0, 1, 0, 0, 0, 0, 0, 0, 1], dtype=bool)
    found = retrieve(scores, abnormal, k=4)
    assert (found.hits, found.recall, found.precision) == (2.0, 2 / 3, 0.5)
    assert found.enrichment == pytest.approx(0.5 / 0.3)
    assert retrieve(scores, abnormal, k=1).recall == 1.0  # one tile can hold one abnormal tile at most


def test_looking_at_all_tiles_finds_all_and_enriches_nothing():
    random = np.random.default_rng(0)
    found = retrieve(random.random(50), random.random(50) < 0.2, k=400)
    assert (found.k, found.recall) == (50, 1.0)
    assert found.enrichment == pytest.approx(1.0)


@given(st.integers(2, 40), st.data())
def test_tiles_of_equal_score_count_by_their_share(tiles: int, data: st.DataObject):
    abnormal = np.array(data.draw(st.lists(st.booleans(), min_size=tiles, max_size=tiles)))
    abnormal[0] = True
    k = data.draw(st.integers(1, tiles))
    found = retrieve(np.zeros(tiles), abnormal, k=k)
    assert found.hits == pytest.approx(found.blind_hits)
    assert found.enrichment == pytest.approx(1.0)


@given(st.integers(0, 10_000), st.integers(1, 30))
def test_order_of_tiles_changes_nothing(seed: int, k: int):
    random = np.random.default_rng(seed)
    scores, abnormal = random.integers(0, 6, 30).astype(float), random.random(30) < 0.3
    abnormal[0] = True
    order = random.permutation(30)
    assert retrieve(scores[order], abnormal[order], k=k).hits == pytest.approx(retrieve(scores, abnormal, k=k).hits)


@pytest.mark.parametrize(("tiles", "abnormal", "k"), [(10, 3, 4), (400, 4, 20), (1296, 6, 50)])
def test_a_blind_choice_is_hypergeometric(tiles: int, abnormal: int, k: int):
    found = Retrieval(k=k, tiles=tiles, abnormal=abnormal, hits=0.0)
    chances = np.array(
        [comb(abnormal, h) * comb(tiles - abnormal, k - h) / comb(tiles, k) for h in range(min(k, abnormal) + 1)]
    )
    assert found.blind_hits == pytest.approx(float(np.arange(len(chances)) @ chances))
    below = np.cumsum(chances)
    assert found.blind_range == (int(np.argmax(below >= 0.025)), int(np.argmax(below >= 0.975)))


def test_summary_holds_means_and_its_interval_shrinks_to_nothing_without_variance():
    found = [Retrieval(k=10, tiles=100, abnormal=5, hits=4.0)] * 6
    summary = summarise(found, k=10)
    assert (summary.hits.value, summary.hits.low, summary.hits.high) == (4.0, 4.0, 4.0)
    assert summary.enrichment.value == pytest.approx(8.0)
    assert summary.blind_enrichment.value == pytest.approx(1.0)
    assert summary.blind_hits.low < 0.5 < summary.blind_hits.high
    assert summary.p < 0.001


def test_a_blind_choice_is_not_called_a_finding():
    random = np.random.default_rng(3)
    abnormal = np.arange(200) < 20
    values = [summarise([retrieve(random.random(200), abnormal, k=20) for _ in range(8)], k=20).p for _ in range(40)]
    assert 0.2 < float(np.mean(values)) < 0.8


@pytest.mark.parametrize(
    ("scores", "abnormal", "k", "said"),
    [
        ([0.1, 0.2], [True, False], 0, "K of at least 1"),
        ([0.1, 0.2], [False, False], 1, "at least one abnormal"),
        ([0.1, np.nan], [True, False], 1, "not finite"),
    ],
)
def test_what_cannot_be_judged_is_refused_in_words(scores: list[float], abnormal: list[bool], k: int, said: str):
    with pytest.raises(ValueError, match=said):
        retrieve(np.array(scores), np.array(abnormal), k=k)


def test_no_slide_is_refused_in_words():
    with pytest.raises(ValueError, match="at least one slide"):
        summarise([], k=3)


def test_table_shows_the_blind_choice_below_each_row():
    summary = summarise([Retrieval(k=10, tiles=100, abnormal=5, hits=4.0)], k=10)
    lines = retrieval_table([("attention", summary)]).splitlines()
    assert lines[2].startswith("| attention | 10 | 1 | 4.0")
    assert lines[3].startswith("| blind choice | 10 | 1 | 0.5")


def test_sentence_gives_fractions_only_where_scores_tie():
    assert sentence(Retrieval(k=4, tiles=40, abnormal=2, hits=1.0)).startswith("1 of 2 abnormal tiles")
    assert sentence(Retrieval(k=4, tiles=40, abnormal=2, hits=0.5)).startswith("0.5 of 2 abnormal tiles")

"""Which tiles are suggested: doubtful ones, unlike ones, never a labelled one."""

import numpy as np
import pytest

from napari_mtlpath.review.suggest import suggest


def _clusters(*, tiles: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings around four centres, the last one rare, and which centre each belongs to."""
    generator = np.random.default_rng(seed)
    kinds = generator.choice(4, tiles, p=[0.45, 0.3, 0.22, 0.03])
    kinds[-4:] = 3
    centres = np.eye(4, 16) * 8
    return (centres[kinds] + generator.normal(size=(tiles, 16))).astype(np.float32), kinds


def test_the_first_suggestions_show_every_kind_of_tile() -> None:
    features, kinds = _clusters()
    chosen = suggest(features, np.full(300, np.nan), count=8, seed=1)
    assert set(kinds[chosen]) == {0, 1, 2, 3}


def test_a_labelled_tile_is_never_suggested_and_none_twice() -> None:
    features, kinds = _clusters(tiles=40)
    labels = np.full(40, np.nan)
    labels[:30] = kinds[:30] == 0
    chosen = suggest(features, labels, count=50, seed=0)
    assert sorted(chosen) == list(range(30, 40))


def test_the_tiles_nearest_the_boundary_come_first() -> None:
    features = np.linspace(-1, 1, 201, dtype=np.float32)[:, None]
    labels = np.full(201, np.nan)
    labels[[0, 200]] = 0.0, 1.0
    assert abs(float(features[suggest(features, labels, count=1, seed=0)[0], 0])) < 0.02
    scores = 1 / (1 + np.exp(-20 * (features[:, 0] - 0.5)))
    assert float(features[suggest(features, labels, count=1, seed=0, scores=scores)[0], 0]) == pytest.approx(0.5)


def test_half_of_the_suggestions_are_unlike_what_is_labelled() -> None:
    features, kinds = _clusters()
    labels = np.full(300, np.nan)
    for kind in (0, 1):
        labels[np.flatnonzero(kinds == kind)[:5]] = kind
    chosen = suggest(features, labels, count=8, seed=0)
    assert {2, 3} & set(kinds[chosen[1::2]])


def test_the_same_seed_gives_the_same_tiles() -> None:
    features, _ = _clusters()
    unknown = np.full(300, np.nan)
    np.testing.assert_array_equal(
        suggest(features, unknown, count=6, seed=3), suggest(features, unknown, count=6, seed=3)
    )
    assert set(suggest(features, unknown, count=6, seed=3)) != set(suggest(features, unknown, count=6, seed=4))


def test_tiles_that_all_look_alike_are_suggested_all_the_same() -> None:
    features = np.ones((5, 3), np.float32)
    assert sorted(suggest(features, np.full(5, np.nan), count=9, seed=0)) == list(range(5))
    labels = np.array([0.0, 1.0, np.nan, np.nan, np.nan])
    assert sorted(suggest(features, labels, count=9, seed=0)) == [2, 3, 4]


def test_nothing_is_suggested_where_all_is_labelled() -> None:
    assert suggest(np.ones((3, 2), np.float32), np.zeros(3), count=2, seed=0).tolist() == []
    with pytest.raises(ValueError, match="one label and one score per tile"):
        suggest(np.ones((3, 2), np.float32), np.zeros(2), count=2, seed=0)


def test_many_tiles_are_answered_for_in_bounded_work() -> None:
    features = np.random.default_rng(0).normal(size=(60_000, 8)).astype(np.float32)
    chosen = suggest(features, np.full(60_000, np.nan), count=12, seed=0)
    assert len(set(chosen.tolist())) == 12

"""Splits: nobody on two sides, every task spread alike, the same for the same seed, kept on disk with their digest."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_mtlpath.tables.cohort import Cohort, Patient
from napari_mtlpath.tables.problems import TableError
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tables.split import Side, Split, folds, split
from napari_mtlpath.tables.split_file import read_split, split_by_column, write_split
from napari_mtlpath.tables.stratify import stratify
from napari_mtlpath.tasks import Classification, Regression

TASKS = (
    Classification(name="MSI", classes=("no", "yes")),
    Classification(name="KIND", classes=("a", "b", "c")),
    Regression(name="TMB", low=0, high=10),
)


def cohort_of(labels):
    patients = tuple(
        Patient(name=f"P{number:04}", files=(f"{number}.svs",), labels=tuple(row)) for number, row in enumerate(labels)
    )
    return Cohort(patients=patients, tasks=TASKS)


def partial_labels(count, *, seed=0, unknown=0.3, rare=0.1):
    random = np.random.default_rng(seed)
    labels = np.stack(
        [random.random(count) < rare, random.integers(0, 3, count), random.gamma(2, 2, count)], axis=1
    ).astype(float)
    labels[random.random(labels.shape) < unknown] = math.nan
    return labels


label_rows = st.lists(
    st.tuples(
        st.sampled_from([0.0, 1.0, math.nan]),
        st.sampled_from([0.0, 1.0, 2.0, math.nan]),
        st.just(math.nan) | st.floats(0, 10),
    ),
    min_size=12,
    max_size=60,
)


@settings(max_examples=30, deadline=None)
@given(label_rows, st.integers(0, 2**32), st.integers(2, 5))
def test_nobody_is_ever_on_two_sides_and_nobody_is_lost(labels, seed, count):
    cohort = cohort_of(labels)
    names = sorted(patient.name for patient in cohort.patients)
    made = folds(cohort, count=count, seed=seed)
    for one in (*made, split(cohort, seed=seed)):
        assert sorted([*one.train, *one.selection, *one.test]) == names
    assert sorted(name for one in made for name in one.test) == names


def test_rare_class_of_partial_labels_is_spread_over_folds():
    cohort = cohort_of(partial_labels(400))
    position = {patient.name: row for row, patient in enumerate(cohort.patients)}
    labels = cohort.label_array()
    made = folds(cohort, count=5, seed=1)
    test = [labels[[position[name] for name in one.test]] for one in made]
    for column, value in ((0, 1.0), (0, 0.0), (1, 0.0), (1, 1.0), (1, 2.0)):
        counts = [int((rows[:, column] == value).sum()) for rows in test]
        expected = (labels[:, column] == value).sum() / 5
        assert max(abs(found - expected) for found in counts) < 1.5, (column, value, counts)
    assert [len(rows) for rows in test] == [80] * 5


def test_chance_alone_spreads_a_rare_class_worse():
    """What stratification is for: the same cohort dealt blindly misses by more."""
    cohort = cohort_of(partial_labels(200, rare=0.06, unknown=0.5))
    rare = {patient.name for patient in cohort.patients if patient.labels[0] == 1}
    random = np.random.default_rng(0)
    ours, blind = [], []
    for seed in range(10):
        ours += [len(rare & set(one.test)) for one in folds(cohort, count=5, seed=seed)]
        names = random.permutation([patient.name for patient in cohort.patients])
        blind += [len(rare & set(part)) for part in np.array_split(names, 5)]
    assert np.std(ours) < 0.6 * np.std(blind)


def test_shares_are_kept():
    made = split(cohort_of(partial_labels(500)), seed=0, test_share=0.2, selection_share=0.25)
    assert (len(made.train), len(made.selection), len(made.test)) == (300, 100, 100)


def test_no_share_means_nobody():
    made = split(cohort_of(partial_labels(60)), seed=0, test_share=0.0, selection_share=0.0)
    assert (len(made.train), made.selection, made.test) == (60, (), ())


def test_split_depends_on_the_seed_and_not_on_the_order_of_rows():
    labels = partial_labels(100)
    cohort = cohort_of(labels)
    turned = Cohort(patients=cohort.patients[::-1], tasks=TASKS)
    assert split(cohort, seed=3).digest == split(turned, seed=3).digest
    assert split(cohort, seed=3).digest != split(cohort, seed=4).digest


def test_too_few_patients_are_refused_with_a_sentence():
    cohort = cohort_of(partial_labels(3))
    assert [len(split(cohort, seed=0).patients(side)) for side in Side] == [1, 1, 1]
    with pytest.raises(ValueError, match="nobody is left for"):
        split(cohort_of(partial_labels(2)), seed=0)
    with pytest.raises(ValueError, match="Expected 2 to 3 folds"):
        folds(cohort, count=4, seed=0)


def test_patient_on_two_sides_cannot_be_made():
    with pytest.raises(ValueError, match="'P1' twice: train and test"):
        Split(train=("P1",), selection=(), test=("P1",), method="by hand")


def test_stratification_deals_the_rarest_trait_first():
    """The worked case of the paper's idea: two patients with the rare trait go to different groups, whatever else."""
    has = np.zeros((20, 2), dtype=bool)
    has[:, 0] = True
    has[:2, 1] = True
    for seed in range(20):
        groups = stratify(has, (0.5, 0.5), generator=np.random.default_rng(seed))
        assert sorted(groups[:2]) == [0, 1]
        assert np.bincount(groups).tolist() == [10, 10]


def test_split_comes_back_from_disk_with_seed_and_digest(tmp_path):
    cohort = cohort_of(partial_labels(50))
    made = folds(cohort, count=3, seed=7)[1]
    write_split(tmp_path / "split.json", made)
    assert read_split(tmp_path / "split.json", cohort) == made
    content = json.loads((tmp_path / "split.json").read_text())
    assert (content["seed"], content["fold"], content["sha256"]) == (7, 1, made.digest)


def test_changed_split_is_noticed(tmp_path):
    path = tmp_path / "split.json"
    write_split(path, split(cohort_of(partial_labels(50)), seed=7))
    content = json.loads(path.read_text())
    content["train"].append(content["test"].pop())
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="changed after it was written"):
        read_split(path)


def test_split_by_hand_is_checked_against_the_cohort(tmp_path):
    path = tmp_path / "split.json"
    cohort = cohort_of(partial_labels(4))
    path.write_text(json.dumps({"train": ["P0000", "P0001"], "test": ["P0002"]}))
    with pytest.raises(ValueError, match=r"says nothing about 1 patients \('P0003'\)"):
        read_split(path, cohort)
    path.write_text(json.dumps({"train": ["P0000", "P0001", "P9"], "test": ["P0002", "P0003"]}))
    with pytest.raises(ValueError, match=r"names 1 patients \('P9'\)"):
        read_split(path, cohort)
    path.write_text(json.dumps({"train": ["P0000", "P0001"], "test": ["P0002", "P0003"]}))
    assert read_split(path, cohort).test == ("P0002", "P0003")


@pytest.mark.parametrize("content", ["[1]", "{}", '{"train": "P1"}', "no json", '{"format": 9, "train": ["P1"]}'])
def test_file_that_is_no_split_is_refused(tmp_path, content):
    path = tmp_path / "split.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"split\.json"):
        read_split(path)


def test_split_is_given_by_a_column(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("PATIENT,FILENAME,MSI,SPLIT\nP1,a,no,train\nP1,b,,train\nP2,c,yes,Val\nP3,d,no,test\n")
    cohort = read_cohort(path, tasks=TASKS[:1])
    made = split_by_column(path, "SPLIT", cohort)
    assert [made.patients(side) for side in Side] == [("P1",), ("P2",), ("P3",)]
    assert made.seed is None


def test_leak_and_unknown_words_in_a_split_column_are_all_said(tmp_path):
    path = tmp_path / "all.csv"
    path.write_text("PATIENT,FILENAME,MSI,SPLIT\nP1,a,no,train\nP1,b,,test\nP2,c,yes,maybe\nP3,d,no,\n")
    cohort = read_cohort(path, tasks=TASKS[:1])
    with pytest.raises(TableError) as caught:
        split_by_column(path, "SPLIT", cohort)
    assert [problem.row for problem in caught.value.problems] == [3, 4, 5]
    with pytest.raises(TableError, match="no column 'split'"):
        split_by_column(path, "split", cohort)

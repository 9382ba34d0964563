"""The plans of the tables in docs/results.md."""

import pytest

from benchmarks.results import METHODS, ablation, extension, methods
from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.encoders.card_file import check_name


@pytest.mark.parametrize(
    "entries", [ablation(), extension(), methods(METHODS)], ids=["ablation", "extension", "methods"]
)
def test_every_row_has_a_name_that_its_model_may_have(entries):
    names = [entry.name for entry in entries]
    assert len(set(names)) == len(names)
    for name in names:
        check_name(name, noun="model")


def test_the_sixteen_methods_are_all_there():
    asked = [entry.changes["balancing"]["method"] for entry in methods(METHODS)]
    assert len(asked) == 16
    for name in asked:
        assert parse(name, tasks=("one", "two")).name == name

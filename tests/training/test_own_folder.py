"""Every kind of training ends among the models that its kind is looked for in."""

import tomllib

import pytest

from napari_mtlpath.folders import data_folder
from napari_mtlpath.training.config.template import template
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.own_folder import own_folder


@pytest.mark.parametrize(
    ("name", "kind"),
    [("tiles", "tile-encoders"), ("pool", "tile-encoders"), ("pixels", "pixel-models"), ("abmil", "slide-models")],
)
def test_a_training_ends_among_the_models_of_its_kind(name: str, kind: str):
    config = parse_config(tomllib.loads(template(name)))
    assert own_folder(config) == data_folder() / "models" / kind / config.name


def test_the_models_of_several_folds_lie_below_runs():
    config = parse_config(tomllib.loads(template("abmil")) | {"name": "many"})
    folds = config.model_copy(update={"data": config.data.model_copy(update={"folds": 3, "split": ""})})
    assert own_folder(folds) == data_folder() / "runs" / "many"

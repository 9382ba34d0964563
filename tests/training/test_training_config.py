"""Training configs: what is wrong is named by its key."""

import hashlib
import json
from pathlib import Path

import pytest

from napari_mtlpath.training.config.balancing import BalancingTable
from napari_mtlpath.training.config.pixels import PixelsConfig
from napari_mtlpath.training.config.pool import PoolConfig
from napari_mtlpath.training.config.reading import ConfigError
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.config.train_config import (
    BagsConfig,
    TilesConfig,
    config_key,
    parse_config,
    read_config,
)

TILES = {
    "kind": "tiles",
    "name": "small",
    "data": {"source": "cells"},
    "encoder": {"family": "timm", "options": {"model": "resnet10t"}},
    "optimisation": {"epochs": 2, "batch": 4, "learning_rate": 1e-3},
}
MODELS = Path(__file__).parents[2] / "models"


def changed(table: str, **values: object) -> dict[str, object]:
    return TILES | {table: dict(TILES[table]) | values}


def test_unknown_key_is_named():
    with pytest.raises(ConfigError, match=r"optimisation\.epoch is not a known key"):
        parse_config(changed("optimisation", epoch=3))


def test_missing_key_is_named():
    with pytest.raises(ConfigError, match="encoder is missing"):
        parse_config({key: value for key, value in TILES.items() if key != "encoder"})


@pytest.mark.parametrize(
    ("table", "key", "value", "sentence"),
    [
        ("optimisation", "epochs", 0, r"optimisation.epochs: .*greater than or equal to 1, found 0"),
        ("optimisation", "precision", "half", r"optimisation.precision: .*'bfloat16' or 'float16', found 'half'"),
        ("optimisation", "learning_rate", "fast", r"optimisation.learning_rate: .*number.*, found 'fast'"),
        ("data", "source", "stars", r"data: .*'cells', 'stains'"),
    ],
)
def test_wrong_value_is_named_with_what_is_allowed(table: str, key: str, value: object, sentence: str):
    with pytest.raises(ConfigError, match=sentence):
        parse_config(changed(table, **{key: value}))


def test_kind_decides_the_config():
    assert isinstance(parse_config(TILES), TilesConfig)
    with pytest.raises(ConfigError, match="'tiles', 'bags'"):
        parse_config(TILES | {"kind": "voxels"})


def test_file_that_is_no_toml_is_refused(tmp_path: Path):
    path = tmp_path / "train.toml"
    path.write_text("kind = tiles", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"train.toml is not valid TOML"):
        read_config(path)
    with pytest.raises(FileNotFoundError, match="Expected a training config"):
        read_config(tmp_path / "other.toml")


def test_key_covers_what_changes_the_weights_and_not_the_card():
    config = parse_config(TILES)
    assert config_key(config) == config_key(parse_config(TILES | {"card": {"title": "Other"}}))
    assert config_key(config) != config_key(parse_config(TILES | {"seed": 1}))


def test_key_of_a_config_is_not_moved_by_keys_that_came_later():
    written = {
        "kind": "tiles",
        "name": "small",
        "seed": 0,
        "data": {"source": "cells", "archive": "pbc_wbcatt_trainval_96.zip", "leave_out": [], "tile_um": 36.0},
        "encoder": TILES["encoder"] | {"start_from": "", "dropout": 0.0, "label_smoothing": 0.0},
        "optimisation": {"epochs": 2, "batch": 4, "learning_rate": 0.001, "weight_decay": 0.05, "warmup_epochs": 0.0}
        | {"clip_norm": 5.0, "average": 0.0, "patience": 0, "precision": "float32"},
        "augmentation": {"dihedral": True, "rotation": 0.0, "zoom": 0.0, "shift": 0.0}
        | {"contrast": 0.0, "brightness": 0.0, "tint": 0.0},
    }
    text = json.dumps(written, separators=(",", ":"))
    assert config_key(parse_config(TILES)) == hashlib.sha256(text.encode()).hexdigest()
    later = changed("optimisation", accumulate=2)
    assert config_key(parse_config(later)) != config_key(parse_config(TILES))


def test_unknown_balancing_method_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r"balancing\.method: .*no balancing method called 'equl'.*mean 'equal'"):
        parse_config(TILES | {"balancing": {"method": "equl"}})


def test_option_that_a_balancing_method_does_not_have_is_named():
    with pytest.raises(ConfigError, match=r"balancing: .*'equal' has no option 'strength'"):
        parse_config(TILES | {"balancing": {"method": "equal", "options": {"equal": {"strength": 1}}}})


KINDS_IN = {
    "tile-encoders": (TilesConfig, PoolConfig, SlideAwareConfig),
    "slide-models": (BagsConfig, PoolConfig),
    "pixel-models": (PixelsConfig,),
}
"""What trains the models of a folder."""


@pytest.mark.parametrize("path", sorted(MODELS.glob("*/*/train.toml")), ids=lambda path: path.parent.name)
def test_config_of_every_released_model_is_valid(path: Path):
    config = read_config(path)
    assert config.name == path.parent.name
    assert isinstance(config, KINDS_IN[path.parent.parent.name])


def test_options_of_a_balancing_method_may_name_tasks_that_the_data_will_bring() -> None:
    table = BalancingTable(method="autol", options={"autol": {"main": "blasts", "learning_rate": 0.001}})
    assert table.balancer(("blasts", "basophils")).losses.main == ("blasts",)
    with pytest.raises(ValueError, match=r"found blasts\. Tasks: age"):
        table.balancer(("age",))
    with pytest.raises(ValueError, match="no option 'mian'"):
        BalancingTable(method="autol", options={"autol": {"mian": "blasts"}})

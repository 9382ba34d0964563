"""The cards in the two recipes are cards that load."""

import re
from pathlib import Path

from napari_mtlpath.encoders.cards import read_encoder_card
from napari_mtlpath.encoders.families.timm import Timm
from napari_mtlpath.zoo.card import read_model_card

DOCS = Path(__file__).parents[1] / "docs"


def block(page: str, language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", (DOCS / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert found is not None
    return found.group(1)


def test_the_encoder_card_of_the_recipe_is_valid_and_true(tmp_path: Path) -> None:
    (tmp_path / "encoder.toml").write_text(block("add-an-encoder.md", "toml"), encoding="utf-8")
    card = read_encoder_card(tmp_path)
    encoder = Timm.build(name=card.name, options={**card.options, "pretrained": False}, state=None)
    assert (encoder.features, encoder.tile_px) == (card.features, card.tile_px)


def test_the_model_card_of_the_recipe_is_valid(tmp_path: Path) -> None:
    (tmp_path / "model.toml").write_text(block("add-a-model.md", "toml"), encoding="utf-8")
    card = read_model_card(tmp_path)
    assert [task.name for task in card.tasks] == ["basophils", "neutrophils"]
    assert card.calibration == {"basophils": {"temperature": 1.4}}


def test_the_code_of_the_recipe_saves_an_encoder_that_loads(tmp_path: Path, monkeypatch) -> None:
    from napari_mtlpath.encoders.load import load_encoder

    monkeypatch.chdir(tmp_path)
    exec(compile(block("add-an-encoder.md", "python"), "add-an-encoder.md", "exec"), {})
    assert load_encoder(tmp_path / "models" / "tile-encoders" / "my-levit").features == 384

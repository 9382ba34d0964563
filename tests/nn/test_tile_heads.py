"""Tasks asked of each tile: the slide's figure is the mean over tiles, and the card names such tasks."""

from dataclasses import replace

import pytest
import torch

from napari_mtlpath.encoders.card_file import plain_values
from napari_mtlpath.nn.aggregators.tile_heads import TileHeads
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns, TilePixels
from napari_mtlpath.zoo.card import ModelCard, model_toml, read_model_card

TASKS = (Classification(name="blast"), Classification(name="type", classes=("a", "b", "c")), Regression(name="size"))
BAG = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))


def answered() -> tuple[TileHeads, dict]:
    model = TileHeads.build(tasks=TASKS, features=6, options={}, generator=torch.Generator().manual_seed(1)).eval()
    with torch.inference_mode():
        return model, model(BAG, explain=True).tasks


def test_a_slides_figure_is_the_mean_of_its_tiles_probabilities_and_values() -> None:
    model, answers = answered()
    with torch.inference_mode():
        blast, kind, size = (head(BAG) for head in model.heads)
    torch.testing.assert_close(torch.sigmoid(answers["blast"].logits), torch.sigmoid(blast).mean(0))
    torch.testing.assert_close(torch.softmax(answers["type"].logits, 0), torch.softmax(kind, 1).mean(0))
    torch.testing.assert_close(answers["size"].logits, size.mean(0))


def test_a_tiles_answer_is_its_heads() -> None:
    model, answers = answered()
    with torch.inference_mode():
        blast, kind, size = (head(BAG) for head in model.heads)
    assert torch.equal(answers["blast"].tile_logits, blast)
    torch.testing.assert_close(torch.softmax(answers["type"].tile_logits, 1), torch.softmax(kind, 1))
    assert torch.equal(answers["size"].tile_logits, size)


def test_tiles_that_are_all_sure_keep_a_finite_answer() -> None:
    model = TileHeads.build(tasks=TASKS[:1], features=1, options={})
    torch.nn.init.ones_(model.heads[0].weight)
    torch.nn.init.zeros_(model.heads[0].bias)
    with torch.inference_mode():
        assert float(model(torch.full((3, 1), -90.0)).tasks["blast"].logits) == pytest.approx(-90.0, rel=1e-5)


def card(**changes: object) -> ModelCard:
    plain = ModelCard(
        name="tiles",
        tasks=TASKS,
        encoder="some",
        encoder_sha256="0" * 64,
        tile=TileSpec(tile_um=Microns(36.0), tile_px=TilePixels(96)),
        aggregator="tile_heads",
        licence="CC-BY-4.0",
    )
    return replace(plain, **changes)


def test_a_card_says_which_tasks_are_asked_of_tiles(tmp_path) -> None:
    named = card(tile_tasks=("blast", "type"))
    (tmp_path / "model.toml").write_text(model_toml(named), encoding="utf-8")
    assert read_model_card(tmp_path).tile_tasks == ("blast", "type")


def test_a_card_without_tile_tasks_is_written_as_before() -> None:
    assert "tile_tasks" not in plain_values(card())


def test_a_card_refuses_tile_tasks_that_are_none_of_its_tasks() -> None:
    with pytest.raises(ValueError, match=r"\['grade'\] in tile_tasks"):
        card(tile_tasks=("grade",))

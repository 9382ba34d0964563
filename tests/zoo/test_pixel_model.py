"""Pixel models: saved, listed, loaded, asked; and refused where a slide model is needed."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pixel_worlds import PARTS, STAIN, TYPES, random_tiles, small_network

from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.folders import data_folder
from napari_mtlpath.nn.aggregator import check_tasks
from napari_mtlpath.tables.read import read_cohort
from napari_mtlpath.tasks import PixelRegression, Segmentation, whole_tasks
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.samplers import draw_balanced
from napari_mtlpath.weights import WeightsError
from napari_mtlpath.zoo.any_model import list_any, load_any
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.pixel_card import PixelCard, read_pixel_card
from napari_mtlpath.zoo.pixel_load import broken_pixel_models, list_pixel_models, load_pixel_model, save_pixel_model
from napari_mtlpath.zoo.pixel_model import PixelModel
from napari_mtlpath.zoo.places import ModelNotFound


def saved(folder: Path, network_name: str = "ctan") -> PixelCard:
    network = small_network(network_name, (PARTS, TYPES, STAIN))
    card = PixelCard(
        name=folder.name,
        tasks=network.tasks,
        tile=TileSpec(tile_um=24.0, tile_px=64),
        network=network_name,
        options=network.options,
        licence="CC-BY-4.0",
        title="Tiny",
        made_for="made-up tiles",
        masks="derived, not annotated: made up",
        metrics={"cell_parts": {"dice": 0.5, "dice_floor": 0.1}},
    )
    return save_pixel_model(folder, card, network.state_dict())


@pytest.fixture
def own(isolated_folders: Path) -> Path:
    folder = data_folder() / "models" / "pixel-models" / "tiny-pixels"
    saved(folder)
    return folder


def test_a_saved_model_answers_as_its_network_did(own: Path):
    model = load_any("tiny-pixels", device="cpu")
    assert isinstance(model, PixelModel)
    tiles = random_tiles().numpy()
    said = model.answer(tiles)
    with torch.inference_mode():
        expected = small_network("ctan", (PARTS, TYPES, STAIN))(torch.from_numpy(tiles)).tasks
    assert said.pixels["cell_parts"].shape == (2, 3, 64, 64)
    assert said.pixels["cell_parts"].dtype == np.float32
    np.testing.assert_allclose(said.pixels["cell_parts"].sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(said.pixels["cell_parts"], expected["cell_parts"].softmax(1), atol=5e-2)
    np.testing.assert_allclose(said.pixels["stain"], expected["stain"], atol=5e-2)
    assert set(said.pixels) == {"cell_parts", "stain"}
    assert said.tiles["cell_type"].shape == (2, 4)
    assert set(said.attention) == {"cell_parts", "cell_type", "stain"}
    assert not model.answer(tiles, attention=False).attention


def test_a_network_without_attention_gives_none(tmp_path: Path):
    saved(tmp_path / "plain", "hps")
    assert load_pixel_model(tmp_path / "plain", device="cpu").answer(random_tiles().numpy()).attention == {}


def test_the_card_comes_back_as_it_was_written(own: Path):
    card = read_pixel_card(own)
    assert card == replace(saved(own), folder=own)
    assert [task.kind for task in card.tasks] == ["segmentation", "classification", "pixel_regression"]
    assert [task.name for task in card.pixel_tasks] == ["cell_parts", "stain"]
    assert [task.name for task in card.tile_tasks] == ["cell_type"]
    assert 'kind = "pixels"' in (own / "model.toml").read_text()
    assert "derived, not annotated" in (own / "README.md").read_text()


def test_it_is_listed_among_all_models_and_described(own: Path):
    assert [card.name for card in list_pixel_models() if card.folder == own] == ["tiny-pixels"]
    assert "tiny-pixels" in [card.name for card in list_any()]
    words = load_pixel_model("tiny-pixels", device="cpu").describe()
    assert "Asked of every pixel: Parts of cells; stain" in words
    assert "Asked of every tile: Cell type" in words
    assert "Made for: made-up tiles" in words
    assert "Unverified model" in words


def test_the_digest_covers_the_weights(own: Path, tmp_path: Path):
    first = load_pixel_model(own, device="cpu")
    card = read_pixel_card(own)
    state = {name: value.clone() for name, value in first.network.state_dict().items()}
    state["bottleneck.0.weight"] += 1
    save_pixel_model(tmp_path / card.name, card, state)
    assert load_pixel_model(tmp_path / card.name, device="cpu").digest != first.digest


def test_a_slide_model_is_not_looked_for_among_pixels_in_vain(own: Path):
    with pytest.raises(CardError, match=r"'tiny-pixels' is a pixel model.*no task can be added to it in isolation"):
        load_model("tiny-pixels")
    with pytest.raises(CardError, match="is not that of a pixel model"):
        load_pixel_model(Path(__file__).parents[2] / "models" / "slide-models" / "smear-mecds")
    with pytest.raises(ModelNotFound, match=r"no model 'tiny-pixel'. Did you mean 'tiny-pixels'\?"):
        load_any("tiny-pixel")
    with pytest.raises(ModelNotFound, match=r"no pixel model 'tiny-pixel'"):
        load_pixel_model("tiny-pixel")


def test_changed_weights_and_broken_cards_are_refused(own: Path):
    weights = own / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(WeightsError, match="damaged or were changed"):
        load_pixel_model(own)
    weights.write_bytes(whole)
    text = (own / "model.toml").read_text()
    (own / "model.toml").write_text(text.replace('kind = "segmentation"', 'kind = "segment"'))
    (broken,) = broken_pixel_models()
    assert "needs kind = 'segmentation' or 'pixel_regression'" in broken.reason
    (own / "model.toml").write_text(text.replace("levels = 4", "levels = 3"))
    with pytest.raises(WeightsError, match="do not fit the architecture"):
        load_pixel_model(own)


def test_tiles_of_another_kind_are_refused(own: Path):
    model = load_pixel_model(own, device="cpu")
    with pytest.raises(ValueError, match=r"expects uint8 tiles \[tile, 64, 64, 3\]; found float32"):
        model.answer(np.zeros((1, 64, 64, 3), np.float32))


@pytest.mark.parametrize("task", [PARTS, STAIN])
def test_models_of_bags_refuse_tasks_of_pixels_in_one_sentence(task: object, tmp_path: Path):
    sentence = rf"Task '{task.name}' asks about every pixel .*kind = 'pixels'"
    with pytest.raises(ValueError, match=sentence):
        whole_tasks([TYPES, task])
    with pytest.raises(ValueError, match=sentence):
        check_tasks([TYPES, task])
    with pytest.raises(ValueError, match=sentence):
        draw_balanced([TYPES, task], torch.zeros(2, 2), torch.Generator())
    with pytest.raises(ValueError, match=sentence):
        read_cohort(tmp_path / "none.csv", tasks=[task])


def test_tasks_of_pixels_check_what_they_are_made_of():
    with pytest.raises(ValueError, match="a background and at least one more class"):
        Segmentation(name="a", classes=("background",))
    with pytest.raises(ValueError, match="needs low < high"):
        PixelRegression(name="a", low=1.0, high=1.0)
    assert (PARTS.outputs, STAIN.outputs) == (3, 1)

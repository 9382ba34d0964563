"""Laws of everything below models/: a new folder is tested when it appears."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mtlpath.encoders.cards import EncoderCard, read_encoder_card
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.readme import HEADINGS
from napari_mtlpath.weights import file_sha256, read_weights
from napari_mtlpath.zoo.card import ModelCard, read_model_card
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.pixel_card import PixelCard, read_pixel_card
from napari_mtlpath.zoo.pixel_load import load_pixel_model

MODELS = Path(__file__).parents[1] / "models"
ENCODERS = sorted(path.parent for path in MODELS.glob("tile-encoders/*/encoder.toml"))
SLIDE_MODELS = sorted(path.parent for path in MODELS.glob("slide-models/*/model.toml"))
PIXEL_MODELS = sorted(path.parent for path in MODELS.glob("pixel-models/*/model.toml"))
FOLDERS = [*ENCODERS, *SLIDE_MODELS, *PIXEL_MODELS]
WEIGHTS = sorted(MODELS.rglob("*.safetensors"))
MAX_WEIGHTS_BYTES = 16 * 2**20  # a LeViT-128S takes 13.5 MiB
ALLOWED_SUFFIXES = {".toml", ".md", ".safetensors", ".png", ".csv"}


def card_of(folder: Path) -> EncoderCard | ModelCard | PixelCard:
    if folder in PIXEL_MODELS:
        return read_pixel_card(folder)
    return read_encoder_card(folder) if folder in ENCODERS else read_model_card(folder)


def name(path: Path) -> str:
    return path.relative_to(MODELS).as_posix()


def test_the_readme_says_what_the_folder_is() -> None:
    first = (MODELS / "README.md").read_text(encoding="utf-8").splitlines()[0]
    assert first.startswith("Data, no Python; `napari_mtlpath/nn` says how a model computes")


def test_the_folder_holds_data_only() -> None:
    assert {path.suffix for path in MODELS.rglob("*") if path.is_file()} <= ALLOWED_SUFFIXES


def test_every_folder_holds_a_card() -> None:
    assert {path for path in MODELS.glob("*/*") if path.is_dir() and path.name[0] != "."} == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_folder_is_named_like_its_card_and_states_a_licence(folder: Path) -> None:
    card = card_of(folder)
    assert card.name == folder.name
    assert card.licence
    assert card.attribution
    assert card.made_for
    assert card.limits


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_a_readme_has_all_headings_and_the_warning(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == list(HEADINGS)
    assert "Research use only: not for diagnosis." in text


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_every_figure_stands_beside_its_trivial_floor(folder: Path) -> None:
    card = card_of(folder)
    for figures in card.metrics.values():
        stated = {figure for figure in figures if not figure.endswith(("_floor", "_low", "_high"))}
        assert all(f"{figure}_floor" in figures for figure in stated)


@pytest.mark.parametrize("path", WEIGHTS, ids=name)
def test_weights_are_small_whole_and_finite(path: Path) -> None:
    assert path.stat().st_size <= MAX_WEIGHTS_BYTES
    assert all(torch.isfinite(tensor).all() for tensor in read_weights(path).values())


@pytest.mark.parametrize("folder", FOLDERS, ids=name)
def test_the_card_holds_the_hash_of_its_weights(folder: Path) -> None:
    if folder in ENCODERS:
        card, path = read_encoder_card(folder), folder / "encoder.safetensors"
        assert card.sha256 == (file_sha256(path) if path.exists() else "")
        assert card.sha256 or card.weights or card.family == "colour_stats"
    else:
        card = read_pixel_card(folder) if folder in PIXEL_MODELS else read_model_card(folder)
        assert card.weights_sha256 == file_sha256(folder / "model.safetensors")


@pytest.mark.parametrize("folder", ENCODERS, ids=name)
def test_an_encoder_loads_on_the_cpu_and_gives_as_many_features_as_its_card_states(folder: Path) -> None:
    card = read_encoder_card(folder)
    assert card.features > 0
    if card.options.get("pretrained"):
        from napari_mtlpath.encoders.families.timm import Timm

        encoder = Timm.build(name=card.name, options={**card.options, "pretrained": False}, state=None)
    else:
        encoder = load_encoder(folder)
    tiles = torch.randint(0, 256, (2, encoder.tile_px, encoder.tile_px, 3), dtype=torch.uint8)
    with torch.inference_mode():
        features = encoder.embed(tiles)
    assert features.shape == (2, card.features)
    assert torch.isfinite(features).all()


@pytest.mark.parametrize("folder", SLIDE_MODELS, ids=name)
def test_a_slide_model_loads_on_the_cpu_and_answers_every_task(folder: Path) -> None:
    model = load_model(folder, device="cpu")
    side = model.encoder.tile_px
    generator = torch.Generator().manual_seed(0)
    tiles = torch.randint(0, 256, (4, side, side, 3), dtype=torch.uint8, generator=generator)
    features = torch.from_numpy(model.embed(tiles.numpy()))
    coordinates = torch.rand(4, 2, generator=generator) * 1000
    with torch.inference_mode():
        answers = model.aggregator(features, coordinates).tasks
    assert list(answers) == [task.name for task in model.tasks]
    for task in model.tasks:
        assert answers[task.name].logits.shape == (task.outputs,)
        assert torch.isfinite(answers[task.name].logits).all()


@pytest.mark.parametrize("folder", PIXEL_MODELS, ids=name)
def test_a_pixel_model_loads_on_the_cpu_and_answers_every_task(folder: Path) -> None:
    model = load_pixel_model(folder, device="cpu")
    side = int(model.tile.tile_px)
    said = model.answer(np.random.default_rng(0).integers(0, 256, (2, side, side, 3), np.uint8))
    assert {*said.pixels, *said.tiles} == {task.name for task in model.tasks}
    for answers in (*said.pixels.values(), *said.tiles.values(), *said.attention.values()):
        assert np.isfinite(answers).all()
    assert model.card.masks


@pytest.mark.parametrize("folder", [*SLIDE_MODELS, *PIXEL_MODELS], ids=name)
def test_a_model_says_where_it_comes_from(folder: Path) -> None:
    card = read_pixel_card(folder) if folder in PIXEL_MODELS else read_model_card(folder)
    assert {"seed", "command"} <= set(card.provenance)
    for task in card.tasks:
        assert any(group.split()[0] == task.name for group in card.metrics), f"no figure for task {task.name!r}"

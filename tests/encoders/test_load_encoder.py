import shutil
from pathlib import Path

import pytest
import torch
from torch import nn

from napari_mtlpath.encoders import find as loading
from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.cards import EncoderCard, read_encoder_card
from napari_mtlpath.encoders.families.timm import Timm
from napari_mtlpath.encoders.load import EncoderNotFound, encoder_names, find_encoder_card, load_encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.weights import WeightsError, read_weights, write_weights

SPEC = TileSpec(tile_um=24.0, tile_px=64)


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("saved") / "models"
    torch.manual_seed(0)
    network = Timm.build(name="small", options={"model": "levit_128s", "tile_px": 64}, state=None).module
    card = EncoderCard(
        name="small",
        family="timm",
        features=384,
        options={"model": "levit_128s"},
        licence="CC-BY-4.0",
        tile=SPEC,
        metrics={"cells": {"accuracy": 0.9, "accuracy_floor": 0.6}},
        provenance={"seed": 0},
    )
    save_encoder(models / "tile-encoders" / "small", card, network.state_dict())
    return models


@pytest.fixture
def models(saved_models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder that holds one encoder called `small`, with random weights."""
    monkeypatch.setenv("MTLPATH_MODELS", str(tmp_path / "models"))
    return Path(shutil.copytree(saved_models, tmp_path / "models"))


@pytest.fixture
def folder(models: Path) -> Path:
    return models / "tile-encoders" / "small"


def edit_card(folder: Path, old: str, new: str) -> None:
    text = (folder / "encoder.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "encoder.toml").write_text(text.replace(old, new), encoding="utf-8")


def test_an_encoder_is_found_by_name_by_folder_and_in_a_given_models_folder(models: Path, folder: Path) -> None:
    by_name, by_folder = load_encoder("small"), load_encoder(folder)
    assert by_name.digest == by_folder.digest == load_encoder("small", models=models).digest
    assert (by_name.name, by_name.features, by_name.tile_px) == ("small", 384, 64)


def test_an_encoder_is_frozen_and_in_eval_mode(models: Path) -> None:
    module = load_encoder("small").module
    assert not module.training
    assert not any(parameter.requires_grad for parameter in module.parameters())


def test_saved_and_loaded_weights_agree_to_float16(models: Path, folder: Path) -> None:
    torch.manual_seed(0)
    original = Timm.build(name="small", options={"model": "levit_128s", "tile_px": 64}, state=None)
    tiles = torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8)
    with torch.inference_mode():
        before, after = original.embed(tiles), load_encoder("small").embed(tiles)
    assert nn.functional.cosine_similarity(before, after).min() > 0.9999


def test_the_card_comes_back_as_it_was_saved(folder: Path) -> None:
    card = read_encoder_card(folder)
    assert card.tile == SPEC
    assert card.metrics == {"cells": {"accuracy": 0.9, "accuracy_floor": 0.6}}
    assert card.options == {"model": "levit_128s"}
    assert len(card.sha256) == 64


def test_saving_again_replaces_the_weights_and_keeps_other_files(folder: Path) -> None:
    (folder / "train.toml").write_text("epochs = 3", encoding="utf-8")
    card = read_encoder_card(folder)
    state = {name: tensor * 0.5 for name, tensor in read_weights(folder / "encoder.safetensors").items()}
    state = {name: tensor.long() if "num_batches" in name else tensor for name, tensor in state.items()}
    before = load_encoder(folder).digest
    save_encoder(folder, card, state)
    assert load_encoder(folder).digest != before
    assert (folder / "train.toml").read_text(encoding="utf-8") == "epochs = 3"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["small"]


def test_a_failing_save_leaves_the_old_encoder(folder: Path) -> None:
    before = load_encoder(folder).digest
    with pytest.raises(WeightsError, match="not finite"):
        save_encoder(folder, read_encoder_card(folder), {"a": torch.tensor([torch.nan])})
    assert load_encoder(folder).digest == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["small"]


def test_a_folder_of_another_name_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be saved in a folder of that name; found 'other'"):
        save_encoder(tmp_path / "other", read_encoder_card(folder), None)


def test_a_typo_is_answered_with_the_nearest_name(models: Path) -> None:
    with pytest.raises(EncoderNotFound, match=r"no tile encoder 'smal'\. Did you mean 'small'\?"):
        load_encoder("smal")


@pytest.mark.parametrize("name", ["../small", "tile-encoders/../small", "", ".", "..", "small/", "/etc/passwd", "a\0b"])
def test_a_name_never_leads_out_of_the_models_folder(models: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(models)
    with pytest.raises((EncoderNotFound, ValueError)):
        find_encoder_card(name)


def test_what_a_killed_save_left_is_not_listed(models: Path, folder: Path) -> None:
    shutil.copytree(folder, folder.with_name(".small.partial-1"))
    assert [name for name in encoder_names() if ".partial" in name] == []


def test_names_list_the_packaged_encoders_too(models: Path) -> None:
    assert {"small", "colour-stats", "levit-128s-224", "levit-256-256"} <= set(encoder_names())


def test_a_flipped_bit_in_the_weights_is_noticed(folder: Path) -> None:
    path = folder / "encoder.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-1000] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match="damaged or were changed"):
        load_encoder(folder)


def test_weights_without_a_hash_are_refused(folder: Path) -> None:
    card = read_encoder_card(folder)
    edit_card(folder, f'sha256 = "{card.sha256}"\n', "")
    with pytest.raises(WeightsError, match="states no sha256"):
        load_encoder(folder)


def test_a_pickle_in_place_of_safetensors_is_refused(folder: Path) -> None:
    (folder / "encoder.safetensors").rename(folder / "encoder.pt")
    torch.save({"a": torch.ones(1)}, folder / "encoder.pt")
    with pytest.raises(WeightsError, match=r"'encoder\.pt' are a pickle"):
        load_encoder(folder)


def test_a_wrong_number_of_features_is_refused(folder: Path) -> None:
    edit_card(folder, "features = 384", "features = 385")
    with pytest.raises(CardError, match="states 385 features; its network gives 384"):
        load_encoder(folder)


def test_weights_of_another_network_come_as_a_table(folder: Path) -> None:
    digest = write_weights(folder / "encoder.safetensors", {"backbone.other": torch.ones(2)})
    edit_card(folder, read_encoder_card(folder).sha256, digest)
    with pytest.raises(WeightsError, match=r"differences\)[\s\S]*backbone\.other: extra, found 2|backbone.*missing"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 2", r"'small' was made by a newer napari-mtlpath \(format 2; this one knows 1\)"),
        ("format = 1", "", r"must say format = 1; found None"),
        ("format = 1", "format = true", r"must say format = 1; found True"),
        ('licence = "CC-BY-4.0"', "", r"licence: .*[Mm]issing|licence: Field required"),
        ('licence = "CC-BY-4.0"', 'licence = " "', "states no licence"),
        ('name = "small"', 'name = "../evil"', "must be 1 to 64 letters"),
        ('name = "small"', 'name = "small"\nsurprise = 1', "surprise"),
        ("features = 384", 'features = "many"', "features: .*integer"),
        ("tile_px = 64", "tile_px = 4", "tile_px must lie in 8 to 2048"),
        ("[architecture]", "[architektur]", r"needs a table \[architecture\]; found none"),
        ('family = "timm"', 'family = "tim"', "no encoder family called 'tim'. Did you mean 'timm'"),
        ("[tile]", "[tile", "not valid TOML"),
    ],
)
def test_a_wrong_card_is_refused_naming_what_is_wrong(folder: Path, old: str, new: str, message: str) -> None:
    edit_card(folder, old, new)
    with pytest.raises(ValueError, match=message):
        load_encoder(folder)


def test_a_card_of_more_than_a_mebibyte_is_not_parsed(folder: Path) -> None:
    (folder / "encoder.toml").write_text("#" * 2**20 + "\nformat = 1\n", encoding="utf-8")
    with pytest.raises(CardError, match="larger than 1 MiB"):
        read_encoder_card(folder)


def test_sizes_of_tile_and_architecture_must_agree() -> None:
    with pytest.raises(ValueError, match=r"states tile_px 64 in \[tile\] and 96 in \[architecture\]"):
        EncoderCard(name="a", family="timm", options={"tile_px": 96}, licence="MIT", tile=SPEC)


def test_a_name_of_timm_needs_no_card() -> None:
    card = find_encoder_card("timm:resnet10t")
    assert (card.family, card.options["model"], card.options["pretrained"]) == ("timm", "resnet10t", True)


def test_a_wrong_name_of_timm_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'resnet18'"):
        load_encoder("timm:resnt18")


@pytest.mark.parametrize(
    ("config", "family", "model"),
    [
        ('{"architecture": "vit_small_patch16_224"}', "timm", "hf-hub:lab/net"),
        ('{"model_type": "vit"}', "transformers", "lab/net"),
    ],
)
def test_a_hub_name_goes_to_the_library_that_its_config_is_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: str, family: str, model: str
) -> None:
    (tmp_path / "config.json").write_text(config, encoding="utf-8")
    monkeypatch.setattr(loading, "hub_file", lambda repository, filename: tmp_path / filename)
    card = find_encoder_card("hf-hub:lab/net")
    assert (card.family, card.options["model"]) == (family, model)


def test_an_encoder_folder_can_be_moved(folder: Path, tmp_path: Path) -> None:
    digest = load_encoder(folder).digest
    shutil.move(folder, tmp_path / "elsewhere")
    assert load_encoder(tmp_path / "elsewhere").digest == digest

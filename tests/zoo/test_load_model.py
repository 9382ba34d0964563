import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mtlpath.encoders.card_file import CardError
from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.save import save_encoder
from napari_mtlpath.nn.aggregators.mean_pool import MeanPool
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.weights import WeightsError, read_weights, write_weights
from napari_mtlpath.zoo.card import ModelCard, read_model_card
from napari_mtlpath.zoo.load import ModelNotFound, broken_models, list_models, load_model
from napari_mtlpath.zoo.save import save_model

TASKS = (
    Classification(name="basophils", title="Basophils", question="Are there basophils?"),
    Regression(name="neutrophils", unit="share"),
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the encoder `stats` and the slide model `demo`."""
    models = tmp_path / "models"
    monkeypatch.setenv("MTLPATH_MODELS", str(models))
    encoder = EncoderCard(
        name="stats", family="colour_stats", features=42, options={"tile_px": 32}, licence="BSD-3-Clause"
    )
    save_encoder(models / "tile-encoders" / "stats", encoder, None)
    card = ModelCard(
        name="demo",
        title="Demo",
        summary="A small model.",
        tasks=TASKS,
        encoder="stats",
        encoder_sha256=load_encoder("stats").digest,
        tile=TileSpec(tile_um=16.0, tile_px=32),
        aggregator="mean_pool",
        licence="CC-BY-4.0",
        made_for="Blood smears.",
        metrics={"basophils": {"auc": 0.9, "auc_floor": 0.5, "auc_low": 0.8, "auc_high": 0.95}},
        calibration={"basophils": {"temperature": 1.5}},
        provenance={"seed": 3, "command": "mtlpath train demo.toml"},
    )
    torch.manual_seed(0)
    save_model(
        models / "slide-models" / "demo", card, MeanPool.build(tasks=TASKS, features=42, options={}).state_dict()
    )
    return models


@pytest.fixture
def folder(models: Path) -> Path:
    return models / "slide-models" / "demo"


def edit_card(folder: Path, old: str, new: str) -> None:
    text = (folder / "model.toml").read_text(encoding="utf-8")
    assert old in text
    (folder / "model.toml").write_text(text.replace(old, new), encoding="utf-8")


def replace_weights(folder: Path, state: dict[str, torch.Tensor]) -> None:
    old = read_model_card(folder).weights_sha256
    edit_card(folder, old, write_weights(folder / "model.safetensors", state))


def test_a_saved_model_is_loaded_by_name_and_by_folder(models: Path, folder: Path) -> None:
    by_name, by_folder = load_model("demo", device="cpu"), load_model(folder, device="cpu")
    assert by_name.digest == by_folder.digest
    assert by_name.tasks == TASKS
    assert by_name.card.calibration == {"basophils": {"temperature": 1.5}}
    assert not by_name.aggregator.training
    assert not any(parameter.requires_grad for parameter in by_name.aggregator.parameters())


def test_a_loaded_model_answers_every_task(models: Path) -> None:
    model = load_model("demo", device="cpu")
    tiles = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    features = model.embed(tiles)
    assert features.shape == (5, 42)
    assert features.dtype == np.float32
    with torch.inference_mode():
        assert set(model.aggregator(torch.from_numpy(features)).tasks) == {"basophils", "neutrophils"}


@pytest.mark.parametrize("tiles", [np.zeros((1, 32, 32, 3), np.float32), np.zeros((1, 16, 32, 3), np.uint8)])
def test_tiles_of_another_size_or_kind_are_refused(models: Path, tiles: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expects uint8 tiles \[tile, 32, 32, 3\]; found"):
        load_model("demo", device="cpu").embed(tiles)


def test_a_description_tells_what_a_person_must_know(models: Path) -> None:
    text = load_model("demo", device="cpu").describe()
    for words in ("Demo", "Basophils", "Blood smears.", "CC-BY-4.0", "Research use only", "CPU"):
        assert words in text


def test_the_digest_changes_with_the_weights_and_with_the_card(models: Path, folder: Path) -> None:
    first = load_model("demo", device="cpu").digest
    edit_card(folder, "temperature = 1.5", "temperature = 1.6")
    second = load_model("demo", device="cpu").digest
    state = read_weights(folder / "model.safetensors")
    replace_weights(folder, {name: tensor + 1 for name, tensor in state.items()})
    assert len({first, second, load_model("demo", device="cpu").digest}) == 3


def test_the_card_comes_back_as_it_was_saved(folder: Path) -> None:
    card = read_model_card(folder)
    assert card.tasks == TASKS
    assert card.metrics["basophils"]["auc_floor"] == 0.5
    assert card.provenance == {"seed": 3, "command": "mtlpath train demo.toml"}
    assert card.task("basophils") is card.tasks[0]
    with pytest.raises(ValueError, match="has no task 'basophil'"):
        card.task("basophil")


def test_the_readme_is_written_from_the_card(folder: Path) -> None:
    text = (folder / "README.md").read_text(encoding="utf-8")
    for words in ("# Demo", "Are there basophils?", "| basophils | auc | 0.9 | 0.5 | 0.8 to 0.95 |", "- seed: 3"):
        assert words in text


def test_a_typo_is_answered_with_the_nearest_name(models: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"no slide model 'dmeo'\. Did you mean 'demo'\?"):
        load_model("dmeo")


def test_a_model_moves_with_its_encoder(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MTLPATH_MODELS")
    shutil.move(models, tmp_path / "stick")
    assert load_model(tmp_path / "stick" / "slide-models" / "demo", device="cpu").encoder.name == "stats"


def test_the_user_folder_is_searched(models: Path, isolated_folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MTLPATH_MODELS")
    shutil.move(models, isolated_folders / "data" / "models")
    assert "demo" in [card.name for card in list_models()]
    assert load_model("demo", device="cpu").name == "demo"


def test_nan_in_the_weights_is_refused_naming_the_layer(folder: Path) -> None:
    path = folder / "model.safetensors"
    name = next(iter(read_weights(path)))
    from safetensors.torch import load_file, save_file

    from napari_mtlpath.weights import file_sha256

    state = load_file(path)
    state[name].view(-1)[0] = torch.nan
    old = read_model_card(folder).weights_sha256
    save_file(state, path)
    edit_card(folder, old, file_sha256(path))
    with pytest.raises(WeightsError, match=f"not finite in layer {name!r}"):
        load_model(folder)


def test_a_missing_an_extra_and_a_misshapen_key_come_in_one_table(folder: Path) -> None:
    state = read_weights(folder / "model.safetensors")
    missing, misshapen, *_ = state
    state.pop(missing)
    replace_weights(folder, {**state, misshapen: torch.ones(3, 3, 3), "stranger": torch.ones(2)})
    with pytest.raises(WeightsError) as caught:
        load_model(folder)
    message = str(caught.value)
    assert f"{missing}: missing" in message
    assert "stranger: extra, found 2" in message
    assert f"{misshapen}: expected" in message
    assert "model 'demo'" in message


def test_a_task_too_many_in_the_card_is_refused(folder: Path) -> None:
    extra = '[[tasks]]\nname = "third"\nkind = "regression"\n\n[architecture]'
    edit_card(folder, "[architecture]", extra)
    with pytest.raises(WeightsError, match="missing, expected"):
        load_model(folder)


def test_a_flipped_bit_is_noticed(folder: Path) -> None:
    path = folder / "model.safetensors"
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 4
    path.write_bytes(damaged)
    with pytest.raises(WeightsError, match="damaged or were changed"):
        load_model(folder)


def test_a_truncated_file_is_noticed(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(WeightsError, match="not a whole safetensors file"):
        load_model(folder)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_a_pickle_is_refused_with_one_sentence(folder: Path, suffix: str) -> None:
    torch.save({"a": torch.ones(1)}, folder / f"model{suffix}")
    (folder / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match=r"are a pickle, which can run code, so they are refused\. .*safetensors"):
        load_model(folder)


def test_missing_weights_say_so(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match=r"no weights file 'model\.safetensors'"):
        load_model(folder)


def test_a_missing_encoder_is_named(models: Path, folder: Path) -> None:
    shutil.rmtree(models / "tile-encoders")
    with pytest.raises(CardError, match="needs the tile encoder 'stats', which is not here"):
        load_model(folder)


def test_another_version_of_the_encoder_is_refused(models: Path, folder: Path) -> None:
    path = models / "tile-encoders" / "stats" / "encoder.toml"
    path.write_text(path.read_text(encoding="utf-8").replace("tile_px = 32", "tile_px = 48"), encoding="utf-8")
    with pytest.raises(CardError, match="made with another version of the tile encoder 'stats': expected"):
        load_model(folder)


def test_tiles_of_another_size_than_the_encoders_are_refused(folder: Path) -> None:
    edit_card(folder, "tile_px = 32", "tile_px = 64")
    with pytest.raises(CardError, match="asks for tiles of 64 px; its encoder 'stats' takes 32 px"):
        load_model(folder)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format = 1", "format = 9", r"made by a newer napari-mtlpath \(format 9; this one knows 1\)"),
        (
            'aggregator = "mean_pool"',
            'aggregator = "mean_pol"',
            "no aggregator called 'mean_pol'. Did you mean 'mean_pool'",
        ),
        ('aggregator = "mean_pool"', 'aggregator = "mean_pool"\nsurprise = 1', "surprise"),
        ('name = "demo"', 'name = "demo"\nsurprise = 1', "surprise"),
        ('name = "demo"', 'name = "../demo"', "must be 1 to 64 letters"),
        ('kind = "regression"', 'kind = "guess"', "kind = 'classification' or 'regression'.*found 'guess'"),
        ('name = "neutrophils"', 'name = "basophils"', "tasks of different names"),
        ('unit = "share"', "unit = 3", "task 'neutrophils', is not valid: unit"),
        ("tile_um = 16.0", "tile_um = nan", "tile_um must lie in 1 to 5000"),
        (
            "[calibration.basophils]",
            "[calibration.nobody]",
            r"calibrated for \['nobody'\], which are none of its tasks",
        ),
        ('encoder = "stats"\n', "", "encoder: Field required"),
        ("[[tasks]]", "[[questions]]", r"needs its tasks as \[\[tasks\]\] tables; found none"),
    ],
)
def test_a_wrong_card_is_refused_and_listed_with_its_reason(folder: Path, old: str, new: str, message: str) -> None:
    edit_card(folder, old, new)
    with pytest.raises(ValueError, match=message):
        load_model(folder)


def test_a_model_whose_weights_are_missing_is_listed_as_broken(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    assert [entry.name for entry in broken_models() if "no model.safetensors" in entry.reason] == ["demo"]


def test_an_architecture_far_larger_than_the_weights_is_given_no_memory(folder: Path) -> None:
    edit_card(folder, 'aggregator = "mean_pool"', 'aggregator = "abmil"\nwidth = 1000000000')
    with pytest.raises(WeightsError, match=r"model 'demo' do not fit the architecture[\s\S]*expected 1000000000"):
        load_model(folder, device="cpu")


def test_a_model_from_elsewhere_is_said_to_be_unverified(models: Path) -> None:
    model = load_model("demo", device="cpu")
    assert not model.is_packaged
    assert "Unverified model" in model.describe()


def test_a_broken_folder_is_listed_with_its_reason_beside_the_good_ones(models: Path, folder: Path) -> None:
    (models / "slide-models" / "empty").mkdir()
    shutil.copytree(folder, models / "slide-models" / "torn")
    edit_card(models / "slide-models" / "torn", "[tile]", "[tile")
    reasons = {entry.name: entry.reason for entry in broken_models()}
    assert "demo" in [card.name for card in list_models()]
    assert "There is no model.toml" in reasons["empty"]
    assert "not valid TOML" in reasons["torn"]


def test_a_failing_save_leaves_the_old_model(folder: Path) -> None:
    before = load_model(folder, device="cpu").digest
    with pytest.raises(WeightsError):
        save_model(folder, read_model_card(folder), {"a": torch.tensor([torch.inf])})
    assert load_model(folder, device="cpu").digest == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["demo"]

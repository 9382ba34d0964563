import json
from pathlib import Path

import pytest
import torch

from napari_mtlpath.encoders.families.transformers import Transformers
from napari_mtlpath.encoders.hub import HubError
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.weights import WeightsError

transformers = pytest.importorskip("transformers")

SIDE = 32


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ViT as transformers saves it, with its preprocessing file."""
    folder = tmp_path_factory.mktemp("hub") / "vit"
    torch.manual_seed(0)
    config = transformers.ViTConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, image_size=SIDE, patch_size=8
    )
    transformers.ViTModel(config).save_pretrained(folder)
    stated = {"size": {"height": SIDE, "width": SIDE}, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25]}
    (folder / "preprocessor_config.json").write_text(json.dumps(stated), encoding="utf-8")
    return folder


def build(folder: Path, **options: object):
    return Transformers.build(name="test", options={"model": str(folder), **options}, state=None)


def noise(side: int = SIDE) -> torch.Tensor:
    return torch.randint(0, 256, (3, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_the_result_is_transformers_own_on_normalised_pixels(published: Path) -> None:
    tiles = noise()
    pixels = (tiles.permute(0, 3, 1, 2) / 255 - 0.5) / 0.25
    reference = transformers.ViTModel.from_pretrained(published).eval()
    with torch.inference_mode():
        output = reference(pixel_values=pixels)
        found = {pooling: build(published, pooling=pooling).embed(tiles) for pooling in ("cls", "mean", "pooler")}
    torch.testing.assert_close(found["cls"], output.last_hidden_state[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["mean"], output.last_hidden_state.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found["pooler"], output.pooler_output, rtol=1e-4, atol=1e-5)


def test_size_and_digest_follow_card_and_preprocessing_file(published: Path) -> None:
    plain, larger, pooled = build(published), build(published, tile_px=48), build(published, pooling="mean")
    assert (plain.tile_px, plain.features, larger.tile_px) == (SIDE, 24, 48)
    with torch.inference_mode():
        assert larger.embed(noise(48)).shape == (3, 24)
    assert len({plain.digest, larger.digest, pooled.digest}) == 3
    assert plain.digest == build(published).digest


def test_own_weights_are_loaded_strictly(published: Path) -> None:
    state = {name: tensor + 0.01 for name, tensor in build(published).module.state_dict().items()}
    options = {"model": str(published)}
    encoder = Transformers.build(name="test", options=options, state=state)
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.module.state_dict().items())
    state.popitem()
    with pytest.raises(WeightsError, match="missing, expected"):
        Transformers.build(name="test", options=options, state=state)


def test_weights_that_are_not_finite_are_refused(published: Path, tmp_path: Path) -> None:
    model = transformers.ViTModel.from_pretrained(published)
    with torch.no_grad():
        model.layernorm.weight[0] = torch.nan
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_bytes((published / "preprocessor_config.json").read_bytes())
    with pytest.raises(WeightsError, match=r"not finite in layer 'backbone\.model\.layernorm\.weight'"):
        build(tmp_path)


def test_a_pickle_in_place_of_safetensors_is_not_opened(published: Path, tmp_path: Path) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((published / name).read_bytes())
    torch.save({"a": torch.ones(1)}, tmp_path / "pytorch_model.bin")
    with pytest.raises((HubError, ValueError), match="safetensors"):
        build(tmp_path)


def test_remote_code_is_refused_unless_the_card_opts_in(published: Path, tmp_path: Path) -> None:
    config = json.loads((published / "config.json").read_text(encoding="utf-8"))
    config |= {"model_type": "stranger", "auto_map": {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}}
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'canary')!r}, 'w')", encoding="utf-8")
    with pytest.raises(ValueError, match=r"runs Python code of its own\. Read that code"):
        build(tmp_path, tile_px=SIDE, mean=[0.5] * 3, std=[0.5] * 3)
    assert not (tmp_path / "canary").exists()


def test_opting_in_needs_the_version_that_was_read(published: Path) -> None:
    with pytest.raises(ValueError, match="needs revision = '<commit>'"):
        build(published, trust_remote_code=True)


def test_a_model_without_preprocessing_asks_for_it(published: Path, tmp_path: Path) -> None:
    transformers.ViTModel.from_pretrained(published).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"states no preprocessing\. Give tile_px, mean and std"):
        build(tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"pooling": "max"}, "must be one of cls, mean, pooler; found 'max'"), ({"x": 1}, "found model, x")],
)
def test_wrong_options_are_named(published: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build(published, **options)


def test_without_internet_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="'lab/net' is not on this machine and the Hub cannot be reached"):
        load_encoder("hf-hub:lab/net")

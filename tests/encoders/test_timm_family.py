from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from napari_mtlpath.encoders.families import timm as family
from napari_mtlpath.encoders.families.timm import Timm, resize_bias_tables
from napari_mtlpath.encoders.hub import HubError
from napari_mtlpath.weights import WeightsError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def build(options, state=None):
    torch.manual_seed(0)
    return Timm.build(name="test", options=options, state=state)


def noise(side: int, count: int = 2) -> torch.Tensor:
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("tile_px", [64, 96, 224, 256])
def test_levit_is_built_for_the_size_of_its_tiles(tile_px: int) -> None:
    encoder = build({"model": "levit_128s", "tile_px": tile_px})
    assert (encoder.tile_px, encoder.features) == (tile_px, 384)
    with torch.inference_mode():
        features = encoder.embed(noise(tile_px))
    assert features.shape == (2, 384)
    assert features.dtype == torch.float32


@pytest.mark.parametrize("name", ["resnet10t", "vit_tiny_patch16_224", "mobilenetv3_small_050"])
def test_other_architectures_are_built_at_their_own_and_at_another_size(name: str) -> None:
    for tile_px in (224, 96):
        encoder = build({"model": name, "tile_px": tile_px})
        with torch.inference_mode():
            assert encoder.embed(noise(tile_px)).shape == (2, encoder.features)


def test_the_result_is_timms_own_on_normalised_pixels() -> None:
    encoder = build({"model": "levit_128s", "tile_px": 96})
    tiles = noise(96)
    pixels = tiles.numpy().astype(np.float32) / 255
    pixels = (pixels - np.array(IMAGENET_MEAN, dtype=np.float32)) / np.array(IMAGENET_STD, dtype=np.float32)
    reference = timm.create_model("levit_128s", num_classes=0, img_size=96).eval()
    state = {name.removeprefix("backbone."): tensor for name, tensor in encoder.module.state_dict().items()}
    reference.load_state_dict(state)
    with torch.inference_mode():
        expected = reference(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).contiguous())
        torch.testing.assert_close(encoder.embed(tiles), expected, rtol=1e-4, atol=1e-4)


def test_the_digest_covers_weights_and_preprocessing() -> None:
    options = {"model": "levit_128s", "tile_px": 64}
    first, same = build(options), build(options)
    torch.manual_seed(1)
    other_weights = Timm.build(name="test", options=options, state=None)
    state = first.module.state_dict()
    other_mean = build({**options, "mean": [0.5, 0.5, 0.5]}, state)
    assert first.digest == same.digest
    assert len({first.digest, other_weights.digest, other_mean.digest}) == 3


def test_weights_of_another_size_come_as_a_table_of_differences() -> None:
    state = build({"model": "levit_128s", "tile_px": 96}).module.state_dict()
    with pytest.raises(WeightsError, match=r"attention_biases: expected 4 x 16, found 4 x 36"):
        build({"model": "levit_128s", "tile_px": 64}, state)


def test_levit_refuses_a_side_that_its_stride_does_not_divide() -> None:
    with pytest.raises(ValueError, match="multiple of 16 pixels; found tile_px = 100"):
        build({"model": "levit_128s", "tile_px": 100})


def test_a_typo_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="Did you mean 'levit_192'"):
        build({"model": "levit_19"})


def test_unknown_options_are_named() -> None:
    with pytest.raises(ValueError, match=r"knows arguments, .*; found img_size, model"):
        build({"model": "levit_128s", "img_size": 3})


@pytest.mark.parametrize("argument", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "num_classes"])
def test_a_card_cannot_make_timm_load_another_file(tmp_path: Path, argument: str) -> None:
    with pytest.raises(ValueError, match=f"may not give timm the arguments {argument}"):
        build({"model": "levit_128s", "arguments": {argument: str(tmp_path / "evil.pth")}})


def test_weights_loaded_after_building_are_those_that_are_used() -> None:
    options = {"model": "levit_128s", "tile_px": 64}
    encoder, tiles = build(options), noise(64)
    torch.manual_seed(9)
    other = Timm.build(name="other", options=options, state=None)
    with torch.no_grad():
        for name, parameter in other.module.named_parameters():
            if name.endswith("attention_biases"):
                parameter.normal_()
    with torch.inference_mode():
        encoder.embed(tiles)
    torch.nn.Sequential(encoder.module).load_state_dict({f"0.{k}": v for k, v in other.module.state_dict().items()})
    with torch.inference_mode():
        torch.testing.assert_close(encoder.embed(tiles), other.embed(tiles))


def test_the_network_can_be_trained() -> None:
    encoder = build({"model": "levit_128s", "tile_px": 64})
    encoder.module.train()
    encoder.module(noise(64)).square().mean().backward()
    assert all(parameter.grad is not None for parameter in encoder.module.parameters())


def test_resized_bias_tables_keep_self_and_farthest_offsets_and_smooth_fields() -> None:
    source = timm.create_model("levit_128s", num_classes=0, img_size=224)
    target = timm.create_model("levit_128s", num_classes=0, img_size=256)
    state = dict(source.state_dict())
    name = "stages.0.blocks.0.attn.attention_biases"
    state[name] = torch.linspace(0, 1, 14).view(1, 14, 1).expand(4, 14, 14).reshape(4, -1).contiguous()
    table = resize_bias_tables(state, target)[name].view(4, 16, 16)
    torch.testing.assert_close(table[..., 0, 0], torch.zeros(4))
    torch.testing.assert_close(table[..., -1, -1], torch.ones(4))
    torch.testing.assert_close(table, torch.linspace(0, 1, 16).view(1, 16, 1).expand(4, 16, 16), atol=0.02, rtol=0)


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """Stand in for the Hub: LeViT-128S with random weights, as timm publishes it."""
    torch.manual_seed(3)
    published = timm.create_model("levit_128s", num_classes=1000)
    save_file(
        {name: tensor.contiguous() for name, tensor in published.state_dict().items()}, tmp_path / "model.safetensors"
    )
    asked: list[tuple[str, str]] = []

    def hub_file(repository: str, filename: str) -> Path:
        asked.append((repository, filename))
        return tmp_path / filename

    monkeypatch.setattr(family, "hub_file", hub_file)
    return asked


@pytest.mark.parametrize("tile_px", [224, 256, 96])
def test_timms_own_weights_are_fetched_once_asked_for_and_fit_any_size(fetched, tmp_path: Path, tile_px: int) -> None:
    encoder = build({"model": "levit_128s", "tile_px": tile_px, "pretrained": True})
    assert fetched == [("timm/levit_128s.fb_dist_in1k", "model.safetensors")]
    from safetensors.torch import load_file

    published = load_file(tmp_path / "model.safetensors")
    own = encoder.module.backbone.state_dict()
    assert torch.equal(own["stem.conv1.linear.weight"], published["stem.conv1.linear.weight"])
    biases = "stages.0.blocks.0.attn.attention_biases"
    assert own[biases].shape == (4, (tile_px // 16) ** 2)
    torch.testing.assert_close(own[biases][:, 0], published[biases][:, 0])


def test_fetched_weights_that_are_not_finite_are_refused(fetched, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "model.safetensors")
    weights["stem.conv1.bn.weight"][0] = torch.nan
    save_file(weights, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"not finite in layer 'stem\.conv1\.bn\.weight'"):
        build({"model": "levit_128s", "pretrained": True})


def test_own_weights_win_over_timms(fetched) -> None:
    options = {"model": "levit_128s", "tile_px": 96}
    state = build(options).module.state_dict()
    encoder = build({**options, "pretrained": True}, state)
    assert fetched == []
    assert all(torch.equal(tensor, state[name]) for name, tensor in encoder.module.state_dict().items())


def test_a_model_without_published_weights_says_so() -> None:
    with pytest.raises(WeightsError, match="no safetensors weights for 'levit_512'"):
        build({"model": "levit_512", "tile_px": 64, "pretrained": True})


def test_without_internet_one_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(HubError, match="not on this machine and the Hub cannot be reached"):
        build({"model": "levit_128s", "pretrained": True})

import logging

import pytest
import torch
from torch import nn

from napari_mtlpath.encoders import bfloat16
from napari_mtlpath.encoders.bfloat16 import MIN_COSINE, with_precision
from napari_mtlpath.encoders.precision import Precision
from napari_mtlpath.encoders.tile_network import NetworkEncoder, TileNetwork


def encoder_of(backbone: nn.Module) -> NetworkEncoder:
    network = TileNetwork(backbone, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    return NetworkEncoder(name="test", module=network, tile_px=16, description={})


@pytest.fixture
def cpu_counts_as_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Autocast to bfloat16 works on the CPU too, which stands in for CUDA here."""
    monkeypatch.setattr(bfloat16, "FAST_DEVICES", frozenset({"cpu"}))


@pytest.fixture
def tiles() -> torch.Tensor:
    return torch.randint(0, 256, (6, 16, 16, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


class Fragile(nn.Module):
    """Large terms that cancel: nothing is left of the result in bfloat16."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 3)
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[1000.0, -999.0], [777.0, -776.5], [-500.0, 499.7]]))
            self.layer.bias.zero_()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        mean = pixels.mean(dim=(1, 2, 3), keepdim=False).unsqueeze(1) + 3.0
        return self.layer(torch.cat([mean, mean], dim=1))


def test_float32_is_the_encoder_itself() -> None:
    encoder = encoder_of(nn.Sequential(nn.Flatten(), nn.Linear(768, 8)))
    assert with_precision(encoder, Precision.FLOAT32) is encoder


def test_bfloat16_has_a_digest_of_its_own() -> None:
    encoder = encoder_of(nn.Sequential(nn.Flatten(), nn.Linear(768, 8)))
    fast = with_precision(encoder, Precision.BFLOAT16)
    assert fast.digest != encoder.digest
    assert (fast.name, fast.features, fast.tile_px) == (encoder.name, encoder.features, encoder.tile_px)


def test_on_the_cpu_float32_is_kept(tiles: torch.Tensor) -> None:
    encoder = encoder_of(nn.Sequential(nn.Flatten(), nn.Linear(768, 8)))
    fast = with_precision(encoder, Precision.BFLOAT16)
    assert all(torch.equal(fast.embed(tiles), encoder.embed(tiles)) for _ in range(2))


def test_bfloat16_is_used_after_it_was_seen_to_agree(cpu_counts_as_fast, tiles: torch.Tensor) -> None:
    torch.manual_seed(0)
    encoder = encoder_of(nn.Sequential(nn.Flatten(), nn.Linear(768, 8)))
    fast = with_precision(encoder, Precision.BFLOAT16)
    with torch.inference_mode():
        exact, first, second = encoder.embed(tiles), fast.embed(tiles), fast.embed(tiles)
    assert torch.equal(first, exact)
    assert not torch.equal(second, exact)
    assert second.dtype == torch.float32
    assert nn.functional.cosine_similarity(second, exact).min() >= MIN_COSINE


def test_bfloat16_is_refused_where_it_disagrees(
    cpu_counts_as_fast, tiles: torch.Tensor, caplog: pytest.LogCaptureFixture
) -> None:
    encoder = encoder_of(Fragile())
    fast = with_precision(encoder, Precision.BFLOAT16)
    with torch.inference_mode(), caplog.at_level(logging.WARNING):
        results = [fast.embed(tiles) for _ in range(3)]
    assert all(torch.equal(result, encoder.embed(tiles)) for result in results)
    assert caplog.text.count("keeps to float32") == 1

import numpy as np
import pytest
import torch

from napari_mtlpath.encoders.families.colour_stats import QUANTILES, ColourStatistics


def tiles(count: int = 3, side: int = 24, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side, 3), dtype=torch.uint8, generator=generator)


@pytest.fixture(scope="module")
def encoder():
    return ColourStatistics.build(name="colour-stats", options={"tile_px": 24}, state=None)


def test_statistics_are_those_that_numpy_finds(encoder) -> None:
    batch = tiles()
    found = encoder.embed(batch).view(len(batch), 3, 2, 2 + len(QUANTILES)).numpy()
    for tile in range(len(batch)):
        for channel in range(3):
            grey = batch[tile, ..., channel].numpy().astype(np.float64).ravel()
            for scale, values in enumerate([grey / 255, -np.log10((grey + 1) / 256)]):
                assert found[tile, channel, scale, 0] == pytest.approx(values.mean(), abs=1e-5)
                assert found[tile, channel, scale, 1] == pytest.approx(values.std(), abs=1e-5)
            quantiles = np.quantile(grey, QUANTILES, method="inverted_cdf")
            np.testing.assert_allclose(found[tile, channel, 0, 2:], quantiles / 255, atol=1e-6)
            np.testing.assert_allclose(found[tile, channel, 1, 2:], -np.log10((quantiles + 1) / 256), atol=1e-6)


def test_moving_pixels_about_changes_nothing(encoder) -> None:
    batch = tiles()
    turned = batch.flip(1).transpose(1, 2)
    assert torch.equal(encoder.embed(batch), encoder.embed(turned.contiguous()))


def test_a_tile_is_embedded_alike_alone_and_among_others(encoder) -> None:
    batch = tiles(count=5)
    assert torch.equal(encoder.embed(batch)[3:4], encoder.embed(batch[3:4]))


@pytest.mark.parametrize("grey", [0, 255])
def test_plain_black_and_plain_white_stay_finite(encoder, grey: int) -> None:
    features = encoder.embed(torch.full((1, 24, 24, 3), grey, dtype=torch.uint8))
    assert torch.isfinite(features).all()
    assert features.view(3, 2, -1)[:, :, 1].abs().max() < 1e-6


def test_brown_and_blue_differ(encoder) -> None:
    brown = torch.tensor([150, 100, 60], dtype=torch.uint8).expand(1, 24, 24, 3)
    blue = torch.tensor([60, 100, 150], dtype=torch.uint8).expand(1, 24, 24, 3)
    assert (encoder.embed(brown) - encoder.embed(blue)).abs().max() > 0.2


def test_unknown_options_and_weights_are_refused() -> None:
    with pytest.raises(ValueError, match=r"knows the option tile_px; found bins"):
        ColourStatistics.build(name="x", options={"bins": 3}, state=None)
    with pytest.raises(ValueError, match="has no weights; found 1 tensors"):
        ColourStatistics.build(name="x", options={}, state={"a": torch.ones(1)})

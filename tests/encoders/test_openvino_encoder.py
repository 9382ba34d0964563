"""Encoders through OpenVINO: the same features, a digest of their own, and torch where they are not the same."""

import importlib.util
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_mtlpath.encoders import computing
from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.encoders.computing import encoder_for
from napari_mtlpath.encoders.load import build_encoder, find_encoder_card
from napari_mtlpath.encoders.openvino_encoder import OpenvinoEncoder
from napari_mtlpath.encoders.parity import agreement, real_tiles
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.zoo.load import load_model

CPU = torch.device("cpu")
needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install openvino"
)


def encoder(name: str | Path, backend: Backend = Backend.OPENVINO) -> TileEncoder:
    card = find_encoder_card(name)
    return encoder_for(backend, card=card, device=CPU, build=lambda: build_encoder(card))


def never_built() -> TileEncoder:
    raise AssertionError("torch's network was built")


@pytest.fixture(scope="module")
def tiles() -> np.ndarray:
    """Tissue that the gate does not look at: the gate's tiles mirrored, with red and blue exchanged."""
    return np.ascontiguousarray(real_tiles(64)[:6, :, ::-1, ::-1])


@needs_openvino
def test_features_are_torchs_and_their_digest_is_not(tiles: np.ndarray) -> None:
    torchs, fast = encoder("tissue-small", Backend.TORCH), encoder("tissue-small")
    exact, found = torchs.embed_pixels(tiles), fast.embed_pixels(tiles)
    assert found.dtype == np.float32
    assert agreement(exact, found).enough
    assert fast.base_digest == torchs.digest != fast.digest
    assert (fast.features, fast.tile_px, fast.name) == (torchs.features, torchs.tile_px, torchs.name)


@needs_openvino
def test_a_tiles_features_do_not_depend_on_its_batch(tiles: np.ndarray) -> None:
    fast = encoder("tissue-small")
    together = fast.embed_pixels(tiles)
    assert np.array_equal(fast.embed_pixels(tiles[:2]), together[:2])
    assert np.array_equal(together, fast.embed_pixels(tiles))  # and an earlier result was not written over


@needs_openvino
def test_features_are_the_same_bits_on_any_number_of_cores_and_from_several_threads(tiles: np.ndarray) -> None:
    expected = encoder("tissue-small").embed_pixels(tiles)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        fast = encoder("tissue-small")
        with ThreadPoolExecutor(5) as pool:
            for found in pool.map(lambda _: fast.embed_pixels(tiles), range(20)):
                assert np.array_equal(found, expected)
        assert np.array_equal(fast.embed_pixels(tiles[:1]), encoder("tissue-small").embed_pixels(tiles[:1]))
    finally:
        torch.set_num_threads(before)


@needs_openvino
def test_a_kept_network_is_used_without_building_torchs(tiles: np.ndarray) -> None:
    first = encoder("tissue-small")
    card = find_encoder_card("tissue-small")
    second = encoder_for(Backend.OPENVINO, card=card, device=CPU, build=never_built)
    assert second.digest == first.digest
    assert np.array_equal(second.embed_pixels(tiles), first.embed_pixels(tiles))


@needs_openvino
@pytest.mark.parametrize("broken", ["facts.json", "network.xml", "network.bin"])
def test_a_damaged_kept_network_is_made_anew(isolated_folders: Path, tiles: np.ndarray, broken: str) -> None:
    expected = encoder("tissue-small").embed_pixels(tiles)
    (kept,) = (isolated_folders / "cache" / "openvino").glob("*")
    shutil.rmtree(kept / "compiled")
    (kept / broken).write_bytes(b"{")
    assert np.array_equal(encoder("tissue-small").embed_pixels(tiles), expected)


@needs_openvino
def test_another_card_or_other_weights_are_converted_for_themselves(tmp_path: Path) -> None:
    card = find_encoder_card("tissue-small")
    assert card.folder is not None
    folder = tmp_path / "tissue-small"
    shutil.copytree(card.folder, folder)
    same = computing._source(find_encoder_card(folder))
    text = (folder / "encoder.toml").read_text(encoding="utf-8")
    (folder / "encoder.toml").write_text(text + "\n", encoding="utf-8")
    other_card = computing._source(find_encoder_card(folder))
    weights = bytearray((folder / "encoder.safetensors").read_bytes())
    weights[-1] ^= 1
    (folder / "encoder.safetensors").write_bytes(bytes(weights))
    assert same == computing._source(card)
    assert len({same, other_card, computing._source(find_encoder_card(folder))}) == 3


@needs_openvino
def test_an_encoder_that_cannot_be_converted_is_refused_once_and_for_all(isolated_folders: Path) -> None:
    with pytest.raises(ValueError, match=r"colour-stats.* through OpenVINO .*Choose the backend 'torch'\.") as said:
        encoder("colour-stats")
    (facts,) = (isolated_folders / "cache" / "openvino").glob("*/facts.json")
    assert json.loads(facts.read_text(encoding="utf-8"))["refused"] == str(said.value)
    card = find_encoder_card("colour-stats")
    with pytest.raises(ValueError, match="Choose the backend 'torch'"):
        encoder_for(Backend.OPENVINO, card=card, device=CPU, build=never_built)


@needs_openvino
def test_automatic_goes_on_in_torch_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    assert encoder("colour-stats", Backend.AUTO).digest == encoder("colour-stats", Backend.TORCH).digest
    assert "Choose the backend 'torch'" in caplog.text
    assert encoder("tissue-small", Backend.AUTO).digest == encoder("tissue-small").digest


@needs_openvino
def test_features_that_disagree_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = computing.OpenvinoEncoder.embed_pixels

    def wrong(self: OpenvinoEncoder, tiles: np.ndarray) -> np.ndarray:
        return right(self, tiles[::-1])

    monkeypatch.setattr(computing.OpenvinoEncoder, "embed_pixels", wrong)
    with pytest.raises(ValueError, match=r"does not give torch's features: it agrees to a cosine of"):
        encoder("tissue-small")


@needs_openvino
def test_converting_reports_nothing_to_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino_telemetry

    def report(*_: object, **__: object) -> None:
        raise AssertionError("use was reported")

    for name in ("send_event", "start_session", "send_error"):
        monkeypatch.setattr(openvino_telemetry.Telemetry, name, report)
    assert encoder("tissue-small").backend.startswith("OpenVINO")


@needs_openvino
def test_a_slide_model_says_what_computes_it_and_keeps_its_results_apart(tiles: np.ndarray) -> None:
    torchs, fast = (load_model("tissue-mecds", device="cpu", backend=name) for name in ("torch", "openvino"))
    assert torchs.digest != fast.digest
    assert "OpenVINO" in fast.describe()
    assert "OpenVINO" not in torchs.describe()
    side = int(fast.encoder.tile_px)
    pixels = real_tiles(side)
    assert agreement(torchs.embed(pixels), fast.embed(pixels)).enough
    with pytest.raises(ValueError, match="OpenVINO computes on the CPU"):
        fast.encoder.to(torch.device("cuda"))


@needs_openvino
def test_openvino_is_refused_beside_a_graphics_card() -> None:
    card = find_encoder_card("tissue-small")
    with pytest.raises(ValueError, match=r"OpenVINO computes on the CPU; found device 'cuda'\."):
        encoder_for(Backend.OPENVINO, card=card, device=torch.device("cuda"), build=never_built)
    kept = build_encoder(card)
    assert encoder_for(Backend.AUTO, card=card, device=torch.device("cuda"), build=lambda: kept) is kept


def test_without_openvino_torch_computes_or_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "openvino" else real(name))
    card = find_encoder_card("tissue-small")
    kept = build_encoder(card)
    assert encoder_for(Backend.AUTO, card=card, device=CPU, build=lambda: kept) is kept
    with pytest.raises(ValueError, match=r"pip install 'napari-mtlpath\[openvino\]'"):
        encoder_for(Backend.OPENVINO, card=card, device=CPU, build=never_built)


def test_an_unknown_backend_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'torch', 'openvino', 'auto'; found 'tensorrt'"):
        load_model("tissue-mecds", device="cpu", backend="tensorrt")


def test_features_that_are_not_finite_or_misshapen_never_agree() -> None:
    exact = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
    broken = exact.copy()
    broken[2, 3] = np.nan
    assert agreement(exact, exact).enough
    assert not agreement(exact, broken).enough
    assert not agreement(exact, exact[:, :5]).enough
    assert not agreement(exact, exact[:3]).enough


def test_a_common_offset_does_not_hide_that_tiles_are_confused() -> None:
    exact = np.random.default_rng(0).normal(size=(8, 16)).astype(np.float32) + 100
    confused = exact[::-1]
    found = agreement(exact, confused)
    assert found.cosine > 0.999
    assert not found.enough


@pytest.mark.parametrize("side", [64, 224, 300])
def test_the_gates_tiles_are_different_pieces_of_tissue(side: int) -> None:
    tiles = real_tiles(side)
    assert tiles.shape == (16, side, side, 3)
    assert len({tile.tobytes() for tile in tiles}) == 16
    assert tiles.reshape(16, -1).std(axis=1).min() > 5

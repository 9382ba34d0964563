"""Aggregators through OpenVINO: torch's answers on bags of any size, or a refusal; and predictions without torch."""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from napari_mtlpath.encoders import network_cache
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.encoders.openvino_encoder import OpenvinoRefused
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.answers import BagAnswer, TaskAnswer
from napari_mtlpath.nn.routing import top_p
from napari_mtlpath.nn.selection import kept_tiles
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns
from napari_mtlpath.zoo import aggregator_conversion, computing
from napari_mtlpath.zoo.aggregator_conversion import largest_difference
from napari_mtlpath.zoo.aggregators import AGGREGATORS
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.computing import openvino_aggregator
from napari_mtlpath.zoo.openvino_aggregator import OpenvinoAggregator

needs_openvino = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="openvino is not installed: pip install openvino"
)
TASKS = (
    Classification(name="witness"),
    Regression(name="share"),
    Classification(name="kind", classes=("a", "b", "c")),
)
ENCODER = load_encoder("colour-stats")
MECDS = {"width": 8, "heads": 2, "feedforward": 1}
CONVERTED: dict[str, tuple[str, dict[str, Any]]] = {
    "mecds": ("mecds", MECDS | {"blocks": 1, "expert_mixing": "mlp"}),
    "mecds of two blocks": ("mecds", MECDS | {"blocks": 2, "mixing": "landmark", "landmarks": 4}),
    "mecds of private streams": ("mecds", MECDS | {"blocks": 2, "streams": "private", "expert_mixing": "full"}),
    "mecds without routing": ("mecds", MECDS | {"routing": "off", "mixing": "full"}),
    "abmil": ("abmil", {"width": 12, "attention_width": 8}),
    "clam_sb": ("clam_sb", {"width": 12, "attention_width": 8}),
    "dsmil": ("dsmil", {"width": 12, "query_width": 8}),
    "joint_transformer": ("joint_transformer", {"width": 12, "heads": 2}),
    "max_pool": ("max_pool", {}),
    "mean_pool": ("mean_pool", {}),
    "pamil": ("pamil", {"width": 12}),
    "tile_heads": ("tile_heads", {}),
}


@pytest.fixture(autouse=True)
def small_bags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aggregator_conversion, "COMPARED_TILES", (1, 2, 40))


def network(name: str, options: dict[str, Any]) -> Aggregator:
    tasks = TASKS[:1] if options.get("blocks") == 2 else TASKS[:2] if name == "mecds" else TASKS  # compiled in a second
    generator = torch.Generator().manual_seed(0)
    kind = AGGREGATORS.load(name)
    made = kind.build(tasks=tasks, features=ENCODER.features, options=options, generator=generator)
    return made.eval().requires_grad_(False)


def card_of(aggregator: Aggregator, name: str) -> ModelCard:
    return ModelCard(
        name="small",
        tasks=aggregator.tasks,
        encoder=ENCODER.name,
        encoder_sha256=ENCODER.digest,
        tile=TileSpec(tile_um=Microns(64.0), tile_px=ENCODER.tile_px),
        aggregator=name,
        options=aggregator.options,
        licence="CC0-1.0",
        weights_sha256="0" * 64,
    )


def never_built() -> Aggregator:
    raise AssertionError("torch's network was built")


def bag(tiles: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(tiles)
    return rng.random((tiles, ENCODER.features), np.float32), rng.random((tiles, 2), np.float32) * 1000


@needs_openvino
@pytest.mark.parametrize("case", CONVERTED)
def test_answers_are_torchs_for_bags_of_any_size(case: str) -> None:
    name, options = CONVERTED[case]
    torchs = network(name, options)
    fast = openvino_aggregator(card_of(torchs, name), encoder=ENCODER, build=lambda: torchs)
    for tiles in (1, 17, 90, 2):
        exact, found = torchs.answer_bag(*bag(tiles)), fast.answer_bag(*bag(tiles))
        assert largest_difference(exact, found) < 1e-4
        assert found.tasks["witness"].logits.dtype == np.float64
    again = openvino_aggregator(card_of(torchs, name), encoder=ENCODER, build=never_built)
    for tiles in (1, 64):  # a bag of one first was seen to spoil those that follow
        assert largest_difference(torchs.answer_bag(*bag(tiles)), again.answer_bag(*bag(tiles))) < 1e-4


@needs_openvino
def test_what_a_record_cannot_follow_is_refused_once_and_for_all() -> None:
    torchs = network("transmil", {"width": 12, "heads": 2, "landmarks": 4})
    card = card_of(torchs, "transmil")
    with pytest.raises(OpenvinoRefused, match=r"The aggregator TransMIL through OpenVINO .+\.$"):
        openvino_aggregator(card, encoder=ENCODER, build=lambda: torchs)
    with pytest.raises(OpenvinoRefused, match="TransMIL"):
        openvino_aggregator(card, encoder=ENCODER, build=never_built)


@needs_openvino
def test_answers_that_differ_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    right = OpenvinoAggregator.answer_bag

    def wrong(self: OpenvinoAggregator, features: np.ndarray, centres: np.ndarray) -> Any:
        answer = right(self, features, centres)
        worse = {name: replace(said, logits=said.logits + 0.01) for name, said in answer.tasks.items()}
        return replace(answer, tasks=worse)

    monkeypatch.setattr(OpenvinoAggregator, "answer_bag", wrong)
    torchs = network("mean_pool", {})
    with pytest.raises(OpenvinoRefused, match=r"does not give torch's answers: they differ by .* 0\.001 is allowed"):
        openvino_aggregator(card_of(torchs, "mean_pool"), encoder=ENCODER, build=lambda: torchs)


@needs_openvino
@pytest.mark.parametrize("broken", ["facts.json", "aggregator.xml", "aggregator.bin"])
def test_a_kept_network_is_used_without_torchs_and_a_damaged_one_made_anew(isolated_folders: Path, broken: str) -> None:
    torchs = network("abmil", {"width": 12})
    card = card_of(torchs, "abmil")
    first = openvino_aggregator(card, encoder=ENCODER, build=lambda: torchs).answer_bag(*bag(9))
    second = openvino_aggregator(card, encoder=ENCODER, build=never_built).answer_bag(*bag(9))
    assert largest_difference(first, second) == 0.0
    (kept,) = (isolated_folders / "cache" / "openvino").glob("*")
    for compiled in (kept / "compiled").glob("*"):
        compiled.unlink()
    (kept / broken).write_bytes(b"{")
    third = openvino_aggregator(card, encoder=ENCODER, build=lambda: torchs).answer_bag(*bag(9))
    assert largest_difference(first, third) == 0.0


@needs_openvino
def test_other_weights_options_or_tasks_are_converted_for_themselves() -> None:
    card = card_of(network("abmil", {"width": 12}), "abmil")
    others = [
        replace(card, weights_sha256="1" * 64),
        replace(card, options=dict(card.options) | {"width": 24}),
        replace(card, tasks=TASKS[:2]),
        replace(card, aggregator="clam_sb"),
    ]
    assert len({computing._source(each, ENCODER) for each in (card, *others)}) == 5


def test_which_of_two_equal_tiles_is_kept_is_no_difference_but_a_wrong_choice_is_one() -> None:
    def answer(*kept: bool) -> BagAnswer:
        weights = np.array([0.3, 0.3, 0.3, 0.1], np.float32)
        said = TaskAnswer(logits=np.zeros(1), routing=weights, selected=np.array(kept))
        return BagAnswer(tasks={"witness": said})

    exact = answer(True, True, False, False)
    assert largest_difference(exact, answer(True, False, True, False)) < 1e-6
    assert largest_difference(exact, answer(True, False, False, True)) > 0.1


def test_an_aggregator_of_another_package_is_left_to_torch() -> None:
    card = replace(card_of(network("mean_pool", {}), "mean_pool"), aggregator="of_somebody_else")
    with pytest.raises(OpenvinoRefused, match="'of_somebody_else' of another package is computed by torch"):
        openvino_aggregator(card, encoder=ENCODER, build=never_built)


@pytest.mark.parametrize("p", [0.0, 0.3, 0.5, 0.95])
def test_the_rule_on_arrays_keeps_what_torchs_keeps(p: float) -> None:
    generator = torch.Generator().manual_seed(0)
    for tiles in (1, 2, 50, 1000):
        for spread in (0.0, 1.0, 5.0):
            phi = torch.softmax(spread * torch.randn(tiles, generator=generator), dim=0)
            np.testing.assert_array_equal(kept_tiles(phi.numpy(), p), top_p(phi, p).numpy())


def test_networks_that_nobody_used_for_long_make_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network_cache, "MOST_NETWORKS", 2)
    for age in range(4):
        folder = tmp_path / f"network-{age}"
        folder.mkdir()
        facts = folder / network_cache.FACTS_FILE
        facts.write_text("{}", encoding="utf-8")
        old = facts.stat().st_mtime - (age + 1) * 2 * network_cache.IN_USE_SECONDS
        os.utime(facts, (old, old))
    network_cache.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network-0", "network-1"]
    monkeypatch.setattr(network_cache, "MOST_BYTES", 3)
    network_cache.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network-0"]
    os.utime(tmp_path / "network-0" / network_cache.FACTS_FILE)
    monkeypatch.setattr(network_cache, "MOST_BYTES", 1)
    network_cache.prune(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["network-0"]  # used just now


PREDICT = """
import sys
from pathlib import Path
from napari_mtlpath.cli.prediction import SlideDone, Wishes, prepare
from napari_mtlpath.inference.export.outputs import Outputs
wishes = Wishes(model="tissue-mecds", device="cpu", backend="openvino", root=Path(sys.argv[2]), mpp=None,
                overwrite=True, outputs=Outputs())
*_, done = prepare(wishes)(Path(sys.argv[1]))
assert isinstance(done, SlideDone)
heavy = ("torch", "timm", "torchvision", "scipy", "skimage", "pandas")
print(sorted(set(heavy) & set(sys.modules)), done.predictions["program"])
"""


@needs_openvino
def test_a_prediction_whose_networks_are_converted_never_imports_torch(cmu_svs: Path, tmp_path: Path) -> None:
    from napari_mtlpath.zoo.load import load_model

    load_model("tissue-mecds", device="cpu", backend="openvino")  # converts, with torch
    command = [sys.executable, "-c", PREDICT, str(cmu_svs), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("[] "), done.stdout
    assert "aggregator through OpenVINO" in done.stdout


@needs_openvino
def test_a_model_whose_aggregator_is_refused_says_so_wherever_it_says_what_computes_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from napari_mtlpath.inference.export.provenance import provenance_now
    from napari_mtlpath.zoo import load

    def refuse(*_: object, **__: object) -> None:
        raise OpenvinoRefused("Aggregator 'mecds' through OpenVINO differs.")

    monkeypatch.setattr(load, "openvino_aggregator", refuse)
    model = load.load_model("tissue-mecds", device="cpu", backend="openvino")
    assert model.refusal == f"Aggregator 'mecds' through OpenVINO differs. {load.TORCH_ANSWERS}"
    assert model.refusal in model.describe()
    facts = {"slide": "a.svs", "slide_fingerprint": "1", "model": "m", "model_digest": "2", "parameters": {}}
    assert "aggregator through torch" in provenance_now(**facts, backend=model.backend).program
    assert load.load_model("tissue-mecds", device="cpu").refusal == ""

"""Encoders transferred to further tasks: features and a linear machine, fine-tuning, and sets left out."""

import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w
import torch
from made_pool import PX, made_pool, made_task, pool_config
from PIL import Image
from typer.testing import CliRunner

from napari_mtlpath.cli.leaving_out import table_of
from napari_mtlpath.cli.main import app
from napari_mtlpath.encoders.load import FAMILIES
from napari_mtlpath.training.pool.parts import Part, grouped_folds
from napari_mtlpath.training.pool.pool_answers import features_of
from napari_mtlpath.training.transfer import leave_out
from napari_mtlpath.training.transfer import linear_probe as linear_probing
from napari_mtlpath.training.transfer.fine_tuning import FineTuning, fine_tune
from napari_mtlpath.training.transfer.leave_out import LeftOut, leave_one_out, varied
from napari_mtlpath.training.transfer.linear_probe import COSTS, linear_probe
from napari_mtlpath.training.transfer.new_domain import ADAPTED, transfer_features

CPU = torch.device("cpu")
SMALL = {
    "model": "resnet10t",
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "arguments": {"channels": [4, 4, 8, 8], "stem_width": 4},
}
QUICK = {"epochs": 1, "steps_per_epoch": 2, "batch": 8, "learning_rate": 1e-2}


@pytest.fixture
def few_costs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two values of C instead of eleven, where the choice is not what is tested."""
    monkeypatch.setattr(linear_probing, "COSTS", (1e-3, 1.0))


def made_features(task, *, seen: bool):
    """Features that show the class, or only noise; the noise is the same in both."""
    random = np.random.default_rng(0)
    return {
        part: (random.normal(size=(len(samples), 6)) + seen * 4.0 * samples.labels[:, None]).astype(np.float32)
        for part, samples in task.parts.items()
    }


def test_a_linear_machine_finds_what_features_show_and_nothing_else() -> None:
    task = made_task("a", 200, classes=3)
    found, lost = (linear_probe(task, made_features(task, seen=seen), encoder="e") for seen in (True, False))
    assert found.metric == "accuracy"
    assert found.value > 0.9
    assert lost.low <= lost.floor + 0.1
    assert found.chosen in {f"C = {cost:g}" for cost in COSTS}


def test_costs_are_the_published_ones() -> None:
    assert len(COSTS) == 11
    assert (min(COSTS), max(COSTS)) == pytest.approx((1e-10, 1.0))


def test_each_set_has_norms_of_its_own_and_the_network_keeps_its_own() -> None:
    pool = made_pool(made_task("a", 80, related="one"), made_task("b", 80, seed=1, related="two"))
    torch.manual_seed(0)
    network = torch.nn.Sequential(Channels(), torch.nn.BatchNorm2d(3), torch.nn.Flatten()).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    asked = {"parts": (Part.TRAIN,), "tile_px": PX, "device": CPU}
    plain = transfer_features(network, pool.tasks, **asked)[Part.TRAIN]
    adapted = transfer_features(network, pool.tasks, **asked, adapt_norms=True)[Part.TRAIN]
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    for name in ("a", "b"):
        by_channel = adapted[name].reshape(len(adapted[name]), 3, -1)
        np.testing.assert_allclose(by_channel.mean((0, 2)), 0.0, atol=0.05)
        assert abs(plain[name].mean()) > 0.1


class Channels(torch.nn.Module):
    """Tiles as a network's first layer sees them."""

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        return tiles.permute(0, 3, 1, 2).float() / 255


def test_the_part_that_is_judged_decides_nothing() -> None:
    task = made_task("a", 160)
    features = made_features(task, seen=True)
    expected = linear_probe(task, features, encoder="e")
    other = features | {Part.TEST: -features[Part.TEST]}
    assert linear_probe(task, other, encoder="e").chosen == expected.chosen


@pytest.mark.parametrize("seed", range(5))
def test_folds_never_divide_a_patient(seed: int) -> None:
    random = np.random.default_rng(seed)
    groups = [f"patient {number}" for number in random.integers(0, 17, 120)]
    folds = grouped_folds(random.integers(0, 3, 120), groups, count=5, seed=seed)
    assert set(folds.tolist()) == set(range(5))
    assert all(len({fold for fold, own in zip(folds, groups, strict=True) if own == group}) == 1 for group in groups)


def test_more_folds_than_patients_are_refused() -> None:
    with pytest.raises(ValueError, match=r"found 2\. Ask for fewer folds"):
        grouped_folds(np.array([0, 1, 0]), ["a", "b", "a"], count=5, seed=0)


def test_shared_pictures_are_seen_once_and_features_come_in_the_order_of_the_samples() -> None:
    task = made_task("a")
    seen: list[int] = []

    def network(tiles: torch.Tensor) -> torch.Tensor:
        seen.append(len(tiles))
        return tiles.float().mean((1, 2))

    samples = {"first": task.parts[Part.TRAIN], "again": task.parts[Part.TRAIN]}
    module = torch.nn.Module()
    module.forward = network
    found = features_of(module, samples, tile_px=PX, device=CPU)
    expected = [task.parts[Part.TRAIN].pictures[item].mean((0, 1)) for item in task.parts[Part.TRAIN].items]
    np.testing.assert_allclose(found["again"], expected, rtol=1e-5)
    assert sum(seen) == len(samples["first"])


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    """An untrained encoder in a folder of its own."""
    from napari_mtlpath.encoders.cards import EncoderCard
    from napari_mtlpath.encoders.save import save_encoder

    options = {"tile_px": PX, **SMALL}
    built = FAMILIES.load("timm").build(name="plain", options=options, state=None)
    card = EncoderCard(name="plain", family="timm", features=built.features, options=options, licence="CC-BY-4.0")
    save_encoder(tmp_path / "plain", card, built.module.state_dict())
    return tmp_path / "plain"


@pytest.mark.parametrize("scratch", [False, True])
def test_fine_tuning_learns_a_task_and_keeps_finished_rates(encoder: Path, tmp_path: Path, scratch: bool) -> None:
    task = made_task("a", 96)
    tuning = FineTuning(epochs=8, rates=(3e-2, 1e-7), batch=12, from_scratch=scratch)

    def run():
        reports = fine_tune(
            task, made_pool(task), encoder=str(encoder), tuning=tuning, folder=tmp_path / "runs", device=CPU
        )
        count = 0
        while True:
            try:
                next(reports)
                count += 1
            except StopIteration as end:
                return end.value, count

    found, steps = run()
    assert found.chosen == "learning rate 0.03"
    assert found.value > 0.9 > 0.5 == found.floor
    assert steps > 0
    assert run() == (found, 0)


def finished(reports) -> LeftOut:
    while True:
        try:
            next(reports)
        except StopIteration as end:
            return end.value


@pytest.mark.usefixtures("few_costs")
def test_a_left_out_set_is_never_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = made_pool(
        made_task("a", 80, related="one"), made_task("b", 80, seed=1, related="one"), made_task("c", 80, seed=2)
    )
    learned: dict[str, set[str]] = {}

    class Watched(leave_out._LeaveOutJob):
        def draw(self, count, generator):
            drawn = super().draw(count, generator)
            shown = {self.pool.tasks[index].name for index in drawn.tasks.tolist()}
            learned.setdefault(self.config.leave_out[0], set()).update(shown)
            return drawn

    monkeypatch.setattr(leave_out, "_LeaveOutJob", Watched)
    config = pool_config(encoder={"options": SMALL}, optimisation=QUICK)
    found = finished(leave_one_out({"": config}, pool, seeds=range(1), folder=tmp_path, device=CPU))
    assert learned == {"one": {"c"}, "c": {"a", "b"}}
    assert found.tasks == ("a", "b", "c")
    assert np.isfinite(found.scores).all()
    learned.clear()
    again = finished(leave_one_out({"": config}, pool, seeds=range(1), folder=tmp_path, device=CPU))
    assert not learned  # what is finished is not trained again
    np.testing.assert_array_equal(again.scores, found.scores)


def test_one_set_cannot_be_left_out(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least two; the pool has a"):
        finished(leave_one_out({}, made_pool(made_task("a")), seeds=range(1), folder=tmp_path, device=CPU))


def test_every_combination_of_settings_is_tried() -> None:
    assert len(varied(["a=1,2,3", "b=x,y"])) == 6
    assert varied([]) == ((),)
    with pytest.raises(ValueError, match="found 'a=1,'"):
        varied(["a=1,"])


def test_the_table_shows_mean_ranks_and_chooses_for_each_task_without_it() -> None:
    scores = np.array([[[0.9, 0.8], [0.7, 0.7]], [[0.6, 0.6], [0.9, 0.9]]])
    lines = list(table_of(LeftOut(settings=("x=1", "x=2"), tasks=("a", "b"), scores=scores)))
    assert lines[2] == "| x=1 | 0.850 ± 0.050 | 0.700 ± 0.000 | 1.50 |"
    assert lines[4:] == ["For a, by the ranks of the other tasks: x=2.", "For b, by the ranks of the other tasks: x=1."]


@pytest.mark.usefixtures("few_costs")
def test_transfer_prints_each_figure_beside_the_trivial_answer(encoder: Path, tmp_path: Path) -> None:
    for code in range(2):
        (tmp_path / "set" / f"c{code}").mkdir(parents=True)
        for number in range(30):
            shade = np.full((PX, PX, 3), 60 + 120 * code + number % 9, np.uint8)
            Image.fromarray(shade).save(tmp_path / "set" / f"c{code}" / f"p{number}.png")
    tables = {"pool": [{"name": "shade", "source": "folder", "options": {"path": "set"}}], "tile": {"tile_px": PX}}
    (tmp_path / "tasks.toml").write_text(tomli_w.dumps(tables), encoding="utf-8")
    runner = CliRunner()
    command = ["transfer", str(tmp_path / "tasks.toml"), "--encoder", str(encoder), "--device", "cpu"]
    rows = json.loads(runner.invoke(app, [*command, "--json"]).output)
    assert [(row["encoder"], row["metric"], row["floor"]) for row in rows] == [
        ("plain", "auc", 0.5),
        ("colour-stats", "auc", 0.5),
    ]
    assert rows[1]["value"] == 1.0  # brightness is what colour statistics see
    adapted = json.loads(runner.invoke(app, [*command, "--adapt-norms", "--json"]).output)
    assert [row["method"] for row in adapted] == ["linear SVM", f"linear SVM, {ADAPTED}", "linear SVM"]
    assert adapted[::2] == rows
    printed = runner.invoke(app, command).output
    assert "shade (auc, trivial answer 0.500):" in printed
    wrong = runner.invoke(app, [*command, "--task", "shadd"])
    assert "Did you mean 'shade'?" in wrong.output

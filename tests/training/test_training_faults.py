"""What goes wrong in a training is handled or said, and never costs what was learned before."""

import contextlib
import csv
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_cells import made_cells, write_archive
from made_cohort import LENGTH, cohort_config, write_cohort, write_slide
from table_job import TableJob, table_loop
from torch import Tensor

from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.bags.bags_job import BagsJob
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.loop import loop as loop_module
from napari_mtlpath.training.loop.checkpoint import CHECKPOINT_FILE, load_checkpoint, save_checkpoint
from napari_mtlpath.training.loop.report import Phase, TrainingReport
from napari_mtlpath.training.sources import bag_sources
from napari_mtlpath.training.tile_training.tile_data import cell_tiles
from napari_mtlpath.training.tile_training.tiles_job import TilesJob
from napari_mtlpath.training.train import train
from napari_mtlpath.zoo.card import read_model_card


class FaultyJob(TableJob):
    """Calls `fault` with the number of the batch, the batch, and its losses."""

    def __init__(self, fault: Callable[[int, Tensor, dict[str, Tensor]], dict[str, Tensor]], **options: float) -> None:
        super().__init__(**options)
        self.fault = fault

    def batch_losses(self, batch: Tensor) -> dict[str, Tensor]:
        losses = super().batch_losses(batch)
        return self.fault(len(self.seen), batch, losses)


def warnings_of(reports: list[TrainingReport]) -> str:
    return " ".join(warning for report in reports for warning in report.warnings)


def test_batch_without_any_label_is_left_out_and_said(tmp_path: Path):
    job = TableJob()
    job.labels[:4] = torch.nan
    job.batches = lambda epoch, generator: iter(torch.arange(24).split(4))
    before = [parameter.detach().clone() for parameter in job.module.parameters()]
    first, *_ = reports = list(table_loop(job, tmp_path, epochs=1).run(output=tmp_path / "model"))
    assert "Epoch 1: left out 1 steps because no sample of it has a label." in warnings_of(reports)
    assert not any(torch.equal(old, new) for old, new in zip(before, job.published.values(), strict=True))
    assert first.phase is Phase.EPOCH


def test_epoch_without_any_label_is_refused(tmp_path: Path):
    job = TableJob(unknown=1.1)
    with pytest.raises(ValueError, match=r"Nothing could be learned in epoch 1: no sample of it has a label\. Check"):
        list(table_loop(job, tmp_path).run(output=tmp_path / "model"))


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_loss_that_is_not_finite_at_any_step_never_reaches_what_is_kept(bad: float, tmp_path: Path):
    for step in range(1, 19) if math.isnan(bad) else (1, 7):
        spoil = lambda number, _, losses, step=step: losses | {"b": losses["b"] * bad} if number == step else losses  # noqa: E731
        job = FaultyJob(spoil, unknown=0.0)
        reports = table_loop(job, tmp_path / str(step), method="uncert").run(output=tmp_path / "model")
        if step <= 6:
            with pytest.raises(FloatingPointError, match=rf"The loss of b became {bad} in epoch 1, step {step}"):
                list(reports)
            assert not job.published
        else:
            *_, last = reports
            assert f"in epoch {(step + 5) // 6}" in last.stopped
            assert all(torch.isfinite(value).all() for value in job.published.values())


def test_gradient_that_explodes_under_a_finite_loss_moves_no_weight(tmp_path: Path):
    def explode(number: int, _: Tensor, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        root = (losses["a"] - losses["a"].detach()).sqrt()  # 0, with an infinite slope
        return losses | {"a": losses["a"] + root} if number == 9 else losses

    job = FaultyJob(explode, unknown=0.0)
    *_, last = table_loop(job, tmp_path).run(output=tmp_path / "model")
    assert "The norm of the gradient became" in last.stopped
    assert "kept the weights of epoch 1" in last.stopped
    assert all(torch.isfinite(value).all() for value in job.published.values())


def too_large_above(rows: int, error: Exception) -> Callable[[int, Tensor, dict[str, Tensor]], dict[str, Tensor]]:
    def fault(_: int, batch: Tensor, losses: dict[str, Tensor]) -> dict[str, Tensor]:
        if len(batch) > rows:
            raise error
        return losses

    return fault


OUT_OF_MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB."),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
)


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("method", ["equal", "pcgrad"])
def test_batch_too_large_for_the_memory_is_computed_in_halves(error: Exception, method: str, tmp_path: Path):
    whole, halved = TableJob(), FaultyJob(too_large_above(2, error))
    for job in (whole, halved):
        list(table_loop(job, tmp_path, method=method, epochs=1).run(output=tmp_path / "model"))
    for name, value in whole.published.items():
        torch.testing.assert_close(halved.published[name], value, atol=2e-5, rtol=2e-4)


def test_half_a_batch_too_large_ends_with_advice_and_keeps_the_checkpoint(tmp_path: Path):
    fail_late = lambda number, batch, losses: too_large_above(0 if number > 8 else 4, OUT_OF_MEMORY[0])(  # noqa: E731
        number, batch, losses
    )
    with pytest.raises(MemoryError, match=r"also with half a batch.*optimisation\.batch.*Tried to allocate 20 GiB"):
        list(table_loop(FaultyJob(fail_late), tmp_path).run(output=tmp_path / "model"))
    kept = load_checkpoint(tmp_path, key="key")
    assert kept is not None
    assert kept["epoch"] == 1


def test_other_errors_are_not_taken_for_a_lack_of_memory(tmp_path: Path):
    job = FaultyJob(too_large_above(0, RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        list(table_loop(job, tmp_path).run(output=tmp_path / "model"))


@contextlib.contextmanager
def small_files_only() -> Iterator[None]:
    """Let no file grow beyond 8 KiB in this block, as on a full disk; the test runner writes a log of its own."""
    resource = pytest.importorskip("resource", reason="this system cannot limit the size of files")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_checkpoint_that_does_not_fit_on_the_disk_leaves_the_one_before(tmp_path: Path):
    save_checkpoint(tmp_path, {"key": "k", "weights": torch.zeros(10)})
    before = (tmp_path / CHECKPOINT_FILE).read_bytes()
    words = r"could not be written: .*File too large.*The one before is kept.*Free some"
    with pytest.raises(OSError, match=words), small_files_only():
        save_checkpoint(tmp_path, {"key": "k", "weights": torch.zeros(100_000)})
    assert (tmp_path / CHECKPOINT_FILE).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT_FILE]


def test_training_goes_on_when_a_checkpoint_cannot_be_written_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(folder: Path, content: object) -> None:
        raise OSError("The checkpoint could not be written: no space left on device.")

    monkeypatch.setattr(loop_module, "save_checkpoint", full)
    reports = list(table_loop(TableJob(), tmp_path).run(output=tmp_path / "model"))
    assert reports[-1].phase is Phase.DONE
    assert warnings_of(reports).count("no space left on device") == 3


@pytest.mark.parametrize("damage", ["truncated", "flipped", "emptied", "another file"])
def test_damaged_checkpoint_is_told_from_a_good_one(damage: str, tmp_path: Path):
    save_checkpoint(tmp_path, {"key": "k", "weights": torch.arange(5000.0)})
    path = tmp_path / CHECKPOINT_FILE
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # within the weights: torch.load reads it without a word
    spoilt = {"truncated": content[:-500], "flipped": content, "emptied": b"", "another file": b"name,label\n"}
    path.write_bytes(spoilt[damage])
    with pytest.raises(ValueError, match=r"checkpoint\.pt is damaged .*Delete it, or start without resuming"):
        load_checkpoint(tmp_path, key="k")


def test_checkpoint_of_an_older_version_is_refused_in_words(tmp_path: Path):
    torch.save({"key": "k"}, tmp_path / CHECKPOINT_FILE)
    with pytest.raises(ValueError, match="made by another version: expected format 2, found none"):
        load_checkpoint(tmp_path, key="k")


def test_model_of_a_task_with_one_class_is_published_and_the_class_said(tmp_path: Path):
    write_cohort(tmp_path)
    path = tmp_path / "clinical.csv"
    with path.open(newline="", encoding="utf-8") as stream:
        rows = [row | {"tumour": "no"} for row in csv.DictReader(stream)]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    reports = list(train(cohort_config(), output=tmp_path / "from-tables", runs=tmp_path / "runs", data=(tmp_path,)))
    assert "Task 'tumour' has only the label 0 in the training part" in warnings_of(reports)
    assert read_model_card(tmp_path / "from-tables").metrics["score"]
    assert not any("tumour" in name for report in reports for name in report.metrics)


def tile_config(**optimisation: object) -> dict[str, object]:
    arguments = {"model": "resnet10t", "mean": [0.5] * 3, "std": [0.25] * 3}
    return {
        "kind": "tiles",
        "name": "tiny",
        "data": {"source": "cells", "archive": "cells.zip"},
        "encoder": {"options": arguments | {"arguments": {"channels": [8, 8, 16, 16], "stem_width": 8}}},
        "optimisation": {"epochs": 1, "batch": 20, "learning_rate": 1e-3} | optimisation,
    }


def test_encoder_with_a_one_class_and_an_unlabelled_task_is_published(tmp_path: Path):
    archive = write_archive(tmp_path / "cells.zip", made_cells(60))
    config = parse_config(tile_config())
    data = cell_tiles(config.data, folders=(archive.parent,))
    for side in (data.train, data.validation):
        side.labels[:, 1] = 0.0
        side.labels[:, 2] = torch.nan
    job = TilesJob(config, data, device=torch.device("cpu"))
    said = {sentence.split("'")[1]: sentence for sentence in job.warnings()}
    assert "only the label 0" in said[data.tasks[1].name]
    assert "no label" in said[data.tasks[2].name]
    losses = next(job.losses(0, torch.Generator().manual_seed(0)))
    assert data.tasks[2].name not in losses
    job.module.eval()
    assert data.tasks[2].name not in job.validate().scores
    assert job.publish(tmp_path / "tiny", facts={}) == tmp_path / "tiny"


def test_batch_of_one_tile_is_refused_by_a_job_with_batch_norm(tmp_path: Path):
    archive = write_archive(tmp_path / "cells.zip", made_cells(40))
    config = parse_config(tile_config(batch=1))
    with pytest.raises(ValueError, match="at least two tiles at a time"):
        TilesJob(config, cell_tiles(config.data, folders=(archive.parent,)), device=torch.device("cpu"))


@pytest.mark.parametrize("aggregator", ["mean_pool", "abmil", "mecds"])
@pytest.mark.parametrize("tiles", [1, 50_000])
def test_bag_of_any_size_gives_finite_losses_and_gradients(aggregator: str, tiles: int, tmp_path: Path):
    write_cohort(tmp_path, patients=20)
    for path in (tmp_path / "features").glob("p1-*.h5"):
        write_slide(path, torch.randn(1, LENGTH).numpy())
    options = {"abmil": {"width": 16, "attention_width": 8}, "mecds": {"width": 16, "heads": 2, "mixing": "none"}}
    config = cohort_config(tables={"aggregator": {"name": aggregator, "options": options.get(aggregator, {})}})
    source = bag_sources(config, folders=(tmp_path,), device=torch.device("cpu"))[0]
    job = BagsJob(config, source, device=torch.device("cpu"))
    bag: Bag = next(iter(source.train(0, torch.Generator().manual_seed(0))))
    few = torch.arange(tiles).float()
    large = replace(
        bag,
        features=torch.randn(tiles, LENGTH, generator=torch.Generator().manual_seed(1)),
        coordinates=torch.stack([few // 250, few % 250], dim=1) * 112,
        labels=torch.tensor([1.0, 2.0, 30.0]),
    )
    losses = job.batch_losses([large])
    torch.stack(list(losses.values())).mean().backward()
    assert set(losses) == {"tumour", "grade", "score"}
    gradients = [parameter.grad for parameter in job.module.parameters() if parameter.grad is not None]
    assert all(torch.isfinite(gradient).all() for gradient in gradients)
    assert gradients

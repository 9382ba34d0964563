"""Slide-aware pre-training end to end: what it writes, what it compares, when it stops, and that it resumes."""

from pathlib import Path

import numpy as np
import pytest
import torch
from made_cells import made_cells
from slide_aware_world import tiny_config, tiny_tables, write_cells

from napari_mtlpath.encoders.cards import read_encoder_card
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.training.check import check
from napari_mtlpath.training.config.reading import ConfigError
from napari_mtlpath.training.config.slide_aware import CellSlides
from napari_mtlpath.training.config.train_config import parse_config
from napari_mtlpath.training.loop import loop as loop_module
from napari_mtlpath.training.loop.report import Phase
from napari_mtlpath.training.measure import measure
from napari_mtlpath.training.slide_aware.cell_slides import cell_slides
from napari_mtlpath.training.slide_aware.job import SlideAwareJob
from napari_mtlpath.training.slide_aware.sources import slide_tiles
from napari_mtlpath.training.step.update import Update
from napari_mtlpath.training.train import train
from napari_mtlpath.training.train_job import make_loop

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cells(tmp_path_factory.mktemp("data")).parent


def job_of(folder: Path, **changes: object) -> SlideAwareJob:
    config = tiny_config(**changes)
    return SlideAwareJob(config, slide_tiles(config, folders=(folder,)), device=CPU)


@pytest.fixture(scope="module")
def trained(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("trained")
    reports = list(train(tiny_config(), output=home / "tiny", runs=home / "runs", data=(folder,)))
    assert reports[-1].phase is Phase.DONE
    assert set(reports[0].losses) == {"similarity", "contrastive"}
    assert {"told_apart", "spread", "spread_negative", "spread_positive"} <= set(reports[0].metrics)
    return home / "tiny"


def test_trained_folder_is_a_zoo_encoder_with_figures_and_honest_facts(trained: Path):
    card = read_encoder_card(trained)
    assert load_encoder(trained).features == card.features == 16
    assert card.provenance["labels"] == "one per slide; no label of a cell is used"
    assert card.provenance["balancing"] == "equal+ags"
    assert "told_apart_floor" in card.metrics["held-out tiles of positive slides"]
    found = card.metrics["abnormal tiles of unseen slides, by distance from slide-negative tiles"]
    assert found["enrichment_at_10_floor"] == 1.0


def test_measuring_the_folder_again_gives_the_cards_figures(trained: Path, folder: Path):
    assert measure(trained, data=(folder,)) == read_encoder_card(trained).metrics


def test_encoder_with_its_projector_is_released_where_asked_for(folder: Path, tmp_path: Path):
    config = tiny_config(encoder={"features": "projector"}, objective={"width": 12}, optimisation={"epochs": 1})
    *_, last = train(config, output=tmp_path / "tiny", runs=tmp_path / "runs", data=(folder,))
    encoder = load_encoder(tmp_path / "tiny")
    assert encoder.features == 12
    tiles = torch.randint(256, (2, 16, 16, 3), dtype=torch.uint8)
    with torch.inference_mode():
        assert encoder.embed(tiles).shape == (2, 12)
    assert last.output == tmp_path / "tiny"


def test_a_trained_encoder_can_be_started_from(trained: Path, folder: Path):
    job = job_of(folder, encoder={"start_from": str(trained), "options": {}})
    before = load_encoder(trained).module.state_dict()
    assert all(torch.equal(value, before[name]) for name, value in job.module.network.state_dict().items())


def test_no_label_of_a_cell_reaches_the_training(folder: Path):
    data = slide_tiles(tiny_config(), folders=(folder,))
    cells = data.train.negative.pool.cells
    is_witness = cells.is_class("cell_type", "Basophil")
    assert not is_witness[data.train.negative.rows.numpy() // 8].any()
    assert is_witness[data.train.positive.rows.numpy() // 8].sum() == 4  # 2 slides, 10 % of 20 cells


def test_slides_for_learning_choosing_and_judging_share_no_cell():
    data = cell_slides(
        CellSlides(source="cells", witness_rate=0.1, slides=4, cells_per_slide=20), made_cells(200), seed=0
    )
    learned, held_out = (
        set((torch.cat([sides.negative.rows, sides.positive.rows]) // 8).tolist())
        for sides in (data.train, data.held_out)
    )
    judged = {row for slide in data.judged for row in (slide.tiles.rows // 8).tolist()}
    assert not learned & held_out
    assert not learned & judged
    assert not held_out & judged
    assert all(int(slide.abnormal.sum()) == 2 for slide in data.judged)


def test_a_rate_that_gives_no_witness_is_refused_with_what_to_do(folder: Path):
    with pytest.raises(ValueError, match=r"at least one Basophil.*Raise data\.witness_rate"):
        slide_tiles(tiny_config(data={"witness_rate": 0.001}), folders=(folder,))


def test_batch_statistics_see_one_mixture_of_all_four_views(folder: Path):
    job = job_of(folder)
    seen: list[int] = []
    norm = next(part for part in job.module.network.modules() if isinstance(part, torch.nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    job.module.train()
    draw = next(job.batches(0, torch.Generator().manual_seed(0)))
    job.batch_losses(draw)
    assert seen == [2 * (len(draw.visit.negative) + len(draw.visit.positive))]


def test_group_normalisation_takes_the_place_of_batch_statistics(folder: Path):
    arguments = {"channels": [8, 8, 16, 16], "stem_width": 8, "norm_layer": "groupnorm1"}
    job = job_of(folder, encoder={"options": {"model": "resnet10t", "arguments": arguments}})
    assert not any(isinstance(part, torch.nn.BatchNorm2d) for part in job.module.modules())
    job.module.train()
    assert set(job.batch_losses(next(job.batches(0, torch.Generator())))) == {"similarity", "contrastive"}


@pytest.mark.parametrize(
    ("kind", "losses"),
    [("slide_aware", ["similarity", "contrastive"]), ("contrastive", ["contrastive"]), ("similarity", ["similarity"])],
)
def test_each_objective_has_its_losses_over_its_tiles(kind: str, losses: list[str], folder: Path):
    job = job_of(folder, objective={"kind": kind, "width": 16})
    draw = next(job.batches(0, torch.Generator().manual_seed(0)))
    negative, positive = len(draw.visit.negative), len(draw.visit.positive)
    counts = {"similarity": negative, "contrastive": positive + (negative if kind == "contrastive" else 0)}
    assert list(job.batch_losses(draw)) == losses
    assert job.label_counts(draw) == {name: counts[name] for name in losses}
    assert job.task_names == tuple(losses)


def test_surgery_of_a_step_spans_encoder_and_projector_and_keeps_the_length_of_the_sum(folder: Path):
    job = job_of(folder)
    job.module.train()
    draw = next(job.batches(0, torch.Generator().manual_seed(0)))
    parameters = job.module.shared_parameters()
    assert {id(p) for p in parameters} == {id(p) for p in job.module.parameters()}
    losses = job.batch_losses(draw)
    flat = [
        torch.cat([g.flatten() for g in torch.autograd.grad(loss / 2, parameters, retain_graph=True)]).double()
        for loss in losses.values()
    ]
    a, b = flat
    expected = a + b
    if a @ b < 0:  # written out: each on the other's normal plane, then the length of the plain sum
        turned = a - (a @ b) / (b @ b) * b + b - (a @ b) / (a @ a) * a
        expected = turned * expected.norm() / turned.norm()
    Update(job.module, job.config.balancing.balancer(job.task_names)).backward(losses)
    found = torch.cat([parameter.grad.flatten() for parameter in parameters]).double()
    torch.testing.assert_close(found, expected, atol=1e-5 * float(expected.norm()), rtol=1e-4)
    assert float(found.norm()) == pytest.approx(float((a + b).norm()), rel=1e-4)


@pytest.mark.parametrize("method", ["equal", "pcgrad", "dwa+cagrad", "autol"])
def test_any_balancing_method_can_be_chosen(method: str, folder: Path, tmp_path: Path):
    config = tiny_config(balancing={"method": method}, optimisation={"epochs": 1})
    *_, last = train(config, output=tmp_path / "tiny", runs=tmp_path / "runs", data=(folder,))
    assert last.output is not None


def test_training_stops_and_says_so_when_embeddings_collapse(folder: Path, tmp_path: Path):
    config = tiny_config(
        objective={"kind": "similarity", "width": 16},
        collapse={"least_spread": 0.999, "patience": 9},
        optimisation={"epochs": 4},
    )
    *_, last = train(config, output=tmp_path / "tiny", runs=tmp_path / "runs", data=(folder,))
    assert "embeddings collapsed" in last.stopped
    assert "kept the weights of epoch" in last.stopped
    assert "collapsed" in str(read_encoder_card(tmp_path / "tiny").provenance["stopped"])


def test_similarity_alone_is_announced_as_what_it_is(folder: Path):
    assert "Similarity alone" in job_of(folder, objective={"kind": "similarity"}).warnings()[0]


def test_training_stopped_within_an_epoch_ends_with_the_same_bits(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(loop_module, "REPORT_SECONDS", -1.0)
    config = tiny_config()

    def loop(name: str) -> loop_module.Loop:
        job = SlideAwareJob(config, slide_tiles(config, folders=(folder,)), device=CPU)
        return make_loop(job, config, folder=tmp_path / name, key="same")

    whole, first, second = loop("whole"), loop("parts"), loop("parts")
    list(whole.run(output=tmp_path / "a" / "tiny"))
    reports = first.run(output=tmp_path / "b" / "tiny")
    for report in reports:
        if report.step == 5:  # within the second of two epochs of four steps
            reports.close()
    list(second.run(output=tmp_path / "b" / "tiny"))
    ours, theirs = (load_encoder(tmp_path / name / "tiny").module.state_dict() for name in ("a", "b"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_step_with_one_positive_tile_is_refused_with_what_to_do(folder: Path):
    with pytest.raises(ValueError, match=r"two tiles.*Raise optimisation\.batch"):
        job_of(folder, optimisation={"epochs": 1, "batch": 2, "learning_rate": 1e-3})


def test_a_network_for_whole_tiles_only_is_told_to_leave_them_whole(folder: Path):
    options = {"model": "test_vit", "mean": [0.5] * 3, "std": [0.25] * 3}
    with pytest.raises(ValueError, match=r"Set views\.crop = 1\.0"):
        job_of(folder, encoder={"options": options})


def test_check_says_what_would_be_trained(folder: Path):
    said = " ".join(check(tiny_config(), data=(folder,)))
    assert "2 without and 2 with Basophil" in said
    assert "4 batches of 20" in said


def test_a_mistyped_key_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match="Did you mean 'temperature'"):
        parse_config(tiny_tables(objective={"temprature": 0.1}))


def test_what_was_learned_finds_rare_cells_better_than_chance(folder: Path, tmp_path: Path):
    config = tiny_config(
        data={"slides": 8, "test_slides": 4},
        optimisation={"epochs": 8, "batch": 40},
    )
    *_, last = train(config, output=tmp_path / "tiny", runs=tmp_path / "runs", data=(folder,))
    assert last.output is not None
    found = read_encoder_card(last.output).metrics[
        "abnormal tiles of unseen slides, by distance from slide-negative tiles"
    ]
    assert np.isfinite(float(found["enrichment_at_10"]))
    assert float(found["enrichment_at_10"]) > 1.0

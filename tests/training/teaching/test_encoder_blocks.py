"""Teaching with the tile encoder's last blocks: what learns, what stays, what is compared, and what is saved."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from taught_world import (
    FINE,
    NEW,
    OLD,
    ArrayPool,
    bag_of,
    pixel_bag,
    quick,
    same_bits,
    saved_model,
    taught_reports,
    tiny_encoder,
    weights_of,
)

from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.training.config.reading import ConfigError
from napari_mtlpath.training.teaching import encoder_job
from napari_mtlpath.training.teaching.lesson import Lesson
from napari_mtlpath.training.teaching.report import Taught, TeachPhase
from napari_mtlpath.training.teaching.taught_model import save
from napari_mtlpath.training.teaching.teach import teach
from napari_mtlpath.zoo.load import load_model
from napari_mtlpath.zoo.model import SlideModel


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> SlideModel:
    return saved_model(tmp_path_factory.mktemp("models"), own=tiny_encoder(), tile=FINE)


def settings(**changes):
    return quick(**({"mode": "shared", "encoder_blocks": 1, "encoder_learning_rate": 1e-3} | changes))


def lesson(parent: SlideModel) -> Lesson:
    return Lesson(task=NEW, bags=(pixel_bag(1, parent.encoder),))


@pytest.fixture(scope="module")
def taught(parent: SlideModel, tmp_path_factory: pytest.TempPathFactory) -> Taught:
    folder = tmp_path_factory.mktemp("taught")
    references = [pixel_bag(number, parent.encoder, labelled=0) for number in (7, 8)]
    *_, last = taught_reports(parent, lesson(parent), folder / "run", config=settings(), references=references)
    return last.taught


def test_last_blocks_and_what_follows_learn_and_everything_before_stays(parent: SlideModel, taught: Taught):
    before = load_encoder(parent.card.folder / "tile-encoders" / "tiny").module.state_dict()
    after = taught.encoder.module.state_dict()
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    blocks = sorted({name.split("blocks.")[1].split(".")[0] for name in before if "blocks." in name})
    assert moved
    assert all(f"blocks.{blocks[-1]}." in name or name.startswith("backbone.norm") for name in moved)
    assert any(f"blocks.{blocks[-1]}." in name for name in moved)


def test_parent_stays_as_it_is(parent: SlideModel, taught: Taught):
    again = load_model(parent.card.folder, device="cpu")
    assert same_bits(weights_of(again), weights_of(parent))
    assert again.encoder.digest == parent.encoder.digest == parent.card.encoder_sha256


def test_old_answers_are_compared_by_the_encoder_of_before_and_the_trained_one(parent: SlideModel, taught: Taught):
    guard = taught.guard
    assert not guard.identical
    assert guard.bags == 3
    assert set(guard.deltas) == {task.name for task in OLD}
    moved = []
    for number in (1, 7, 8):
        bag = pixel_bag(number, parent.encoder)
        pixels = bag.pixels.read(torch.from_numpy(bag.numbers))
        with torch.inference_mode():
            old = parent.aggregator(torch.from_numpy(parent.encoder.embed_pixels(pixels.numpy()))).tasks["share"]
            new = taught.model.aggregator(taught.encoder.embed(pixels)).tasks["share"]
        moved.append(float((new.logits - old.logits).abs().max()))
    assert guard.deltas["share"].mean == pytest.approx(np.mean(moved), rel=0.01)
    assert guard.deltas["share"].largest == pytest.approx(max(moved), rel=0.01)
    for delta in guard.deltas.values():
        assert 0 < delta.low <= delta.mean <= delta.high <= delta.largest + 1e-12


def test_saved_model_carries_its_encoder_and_answers_the_same_bits(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    again = load_model(tmp_path / "longer", device="cpu")
    assert same_bits(weights_of(again), weights_of(taught.model))
    assert again.encoder.digest == taught.encoder.digest
    assert again.encoder.digest != taught.parent.encoder.digest
    assert again.card.encoder == "longer-encoder"
    assert (tmp_path / "longer" / "tile-encoders" / "longer-encoder" / "README.md").is_file()
    proof = json.loads((tmp_path / "longer" / "proof.json").read_text(encoding="utf-8"))
    expected = {"blocks": 1, "before": taught.parent.encoder.digest, "after": again.encoder.digest}
    assert proof["encoder"] == expected
    assert proof["identical"] is False
    assert proof["answers_sha256"]["after"] == taught.guard.after
    assert "every task's answers changed" in again.card.summary
    assert "calibration" not in json.dumps(dict(again.card.calibration))
    assert again.card.metrics.keys() == taught.metrics.keys()


def test_taught_model_is_taught_further_without_its_encoder_and_keeps_it(taught: Taught, tmp_path: Path):
    save(taught, tmp_path / "longer")
    again = load_model(tmp_path / "longer", device="cpu")
    second = Lesson(task=replace(NEW, name="round"), bags=(pixel_bag(1, again.encoder),))
    *_, last = taught_reports(again, second, tmp_path / "run", config=quick())
    assert last.guard.identical
    save(last.taught, tmp_path / "longest")
    assert load_model(tmp_path / "longest", device="cpu").encoder.digest == again.encoder.digest


def test_no_preview_is_offered_whose_embeddings_are_not_there(parent: SlideModel, tmp_path: Path):
    reports = taught_reports(parent, lesson(parent), tmp_path / "run", config=settings())
    assert [report.model for report in reports] == [None] * len(reports)
    points = [report for report in reports if report.phase is TeachPhase.REFRESH]
    assert all(set(point.validation_losses) == {"bright", *(task.name for task in OLD)} for point in points)


def test_cancelled_it_goes_on_to_the_same_bits(parent: SlideModel, taught: Taught, tmp_path: Path, monkeypatch):
    monkeypatch.setattr("napari_mtlpath.training.teaching.teach.REPORT_SECONDS", 0.0)
    references = [pixel_bag(number, parent.encoder, labelled=0) for number in (7, 8)]
    for after in (2, 3):
        running = teach(parent, lesson(parent), settings(), references=references, folder=tmp_path / str(after))
        steps = (report for report in running if report.phase in (TeachPhase.STEP, TeachPhase.REFRESH))
        for _ in range(after):
            next(steps)
        running.close()
        folder = tmp_path / str(after)
        *_, resumed = taught_reports(parent, lesson(parent), folder, config=settings(), references=references)
        assert same_bits(weights_of(resumed.taught.model), weights_of(taught.model))
        assert resumed.taught.encoder.digest == taught.encoder.digest
        assert resumed.guard == taught.guard


def test_at_most_so_many_tiles_of_a_slide_are_read_and_pieces_bound_what_is_held(
    parent: SlideModel, tmp_path: Path, monkeypatch
):
    monkeypatch.setattr("napari_mtlpath.training.teaching.config.ENCODER_TILES", 20)
    one, many = pixel_bag(1, parent.encoder), pixel_bag(7, parent.encoder, labelled=0)
    *_, last = taught_reports(
        parent, Lesson(task=NEW, bags=(one,)), tmp_path / "run", config=settings(steps=2), references=[many]
    )
    assert {len(bag.features) for bag in last.taught.seen} == {20}
    assert len(set().union(*many.pixels.asked)) <= 20
    assert max(len(asked) for pool in (one.pixels, many.pixels) for asked in pool.asked) <= encoder_job.PIECE


def test_references_without_pixels_are_left_out(parent: SlideModel, tmp_path: Path):
    blind = replace(pixel_bag(7, parent.encoder, labelled=0), pixels=None)
    *_, last = taught_reports(parent, lesson(parent), tmp_path / "run", config=settings(), references=[blind])
    assert [bag.fingerprint for bag in last.taught.seen] == ["0001"]


def test_lesson_without_pixels_is_refused_before_any_time_is_spent(parent: SlideModel, tmp_path: Path):
    blind = replace(pixel_bag(1, parent.encoder), pixels=None)
    with pytest.raises(ValueError, match=r"slide 'slide 1' is known by its features only\. Open the slide itself"):
        next(teach(parent, Lesson(task=NEW, bags=(blind,)), settings(), folder=tmp_path / "run"))


def test_encoder_without_blocks_or_with_fewer_is_refused(parent: SlideModel, tmp_path: Path):
    with pytest.raises(ValueError, match=r"encoder_blocks = 999: this encoder has \d+ blocks\. Take fewer"):
        next(teach(parent, lesson(parent), settings(encoder_blocks=999), folder=tmp_path / "run"))
    other = saved_model(tmp_path)  # colour statistics
    pixels = ArrayPool(np.zeros((60, 32, 32, 3), np.uint8))
    bag = replace(bag_of(1), numbers=np.arange(60), pixels=pixels)
    with pytest.raises(ValueError, match="this encoder has no weights to train"):
        next(teach(other, Lesson(task=NEW, bags=(bag,)), settings(), folder=tmp_path / "run"))


def test_isolated_mode_and_balancers_that_look_ahead_are_refused(parent: SlideModel, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"encoder_blocks needs mode = 'shared'"):
        quick(encoder_blocks=1)
    with pytest.raises(ValueError, match=r"'autol' looks one step ahead"):
        next(teach(parent, lesson(parent), settings(balancer="autol"), folder=tmp_path / "run"))


@pytest.mark.parametrize("balancer", ["uncert", "equal+pcgrad"])
def test_balancers_weigh_the_encoder_too(balancer: str, parent: SlideModel, tmp_path: Path):
    *_, last = taught_reports(parent, lesson(parent), tmp_path / "run", config=settings(steps=2, balancer=balancer))
    assert last.taught.encoder.digest != parent.encoder.digest

"""A bag's answer is its own: not its batch's, not a padding's, and a thinned bag is drawn from all of its tiles."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_cohort import cohort_config, write_cohort

from napari_mtlpath.encoders.families.colour_stats import ColourStatistics
from napari_mtlpath.nn.outputs import BagOutput
from napari_mtlpath.training.bags.bag_sampling import thinned
from napari_mtlpath.training.bags.bags import Bag
from napari_mtlpath.training.bags.bags_job import BagsJob
from napari_mtlpath.training.config.systems import SamplingTable
from napari_mtlpath.training.sources import cohort_sources
from napari_mtlpath.zoo.aggregators import AGGREGATORS

CPU = torch.device("cpu")
SMALL = {"width": 48, "attention_width": 8, "heads": 2, "blocks": 1, "feedforward": 1}
LENGTHS = (1, 7, 40)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cohort(tmp_path_factory.mktemp("cohort"), patients=20)


def job_of(cohort: Path, aggregator: str) -> BagsJob:
    kind = AGGREGATORS.load(aggregator)
    config = cohort_config()
    known = kind.build(tasks=[table.task() for table in config.data.tasks], features=42, options={}).options
    options = {name: value for name, value in SMALL.items() if name in known}
    config = cohort_config(tables={"aggregator": {"name": aggregator, "options": options}})
    encoder = ColourStatistics.build(name="colour-stats", options={"tile_px": 224}, state=None)
    (source,) = cohort_sources(config.data, encoder, folders=(cohort,), seed=0)
    return BagsJob(config, source, device=CPU)


def bags_of(job: BagsJob) -> list[Bag]:
    """Bags of very different lengths, their features of very different size."""
    generator = torch.Generator().manual_seed(4)
    labels = job.source.fixed_labels()
    return [
        Bag(
            features=torch.randn(length, 42, generator=generator) * (place + 1),
            coordinates=torch.stack([torch.arange(float(length)), torch.zeros(length)], dim=1),
            labels=labels[place],
        )
        for place, length in enumerate(LENGTHS)
    ]


def outputs_of(job: BagsJob, batch: Sequence[Bag]) -> list[BagOutput]:
    """What the losses of a batch are computed from."""
    seen: list[Sequence[BagOutput]] = []
    plain = job.criterion

    def watched(bags: Sequence[Bag], outputs: Sequence[BagOutput]) -> dict[str, torch.Tensor]:
        seen.append(outputs)
        return plain(bags, outputs)

    job.criterion = watched
    try:
        job.batch_losses(batch)
    finally:
        job.criterion = plain
    return list(seen[0])


@pytest.mark.parametrize("aggregator", AGGREGATORS.names())
def test_outputs_depend_neither_on_the_other_bags_nor_on_their_length(aggregator: str, cohort: Path):
    """The released trainer of joint-mtl-cpath cut bags by the number of tensors in its batch, not by their length."""
    job = job_of(cohort, aggregator)
    job.module.eval()
    short, middle, long = bags_of(job)
    alone = outputs_of(job, [middle])[0]
    for batch, place in (([short, middle], 1), ([middle, long], 0), ([long, middle, short], 1), ([middle, middle], 1)):
        beside = outputs_of(job, batch)[place]
        for name, answer in alone.tasks.items():
            assert torch.equal(beside.tasks[name].logits, answer.logits)
            assert torch.equal(beside.tasks[name].embedding, answer.embedding)


@pytest.mark.parametrize("aggregator", AGGREGATORS.names())
def test_the_aggregator_sees_each_tile_of_a_bag_once_and_no_padding(aggregator: str, cohort: Path):
    job = job_of(cohort, aggregator)
    seen: list[torch.Tensor] = []
    job.aggregator.register_forward_pre_hook(lambda module, given: seen.append(given[0].clone()))
    job.module.train()
    batch = bags_of(job)
    job.batch_losses(batch)
    assert [len(bag) for bag in seen] == list(LENGTHS)
    for shown, bag in zip(seen, batch, strict=True):
        torch.testing.assert_close(shown, (bag.features - job.mean) * job.scale)


def test_losses_of_a_batch_are_the_means_over_its_labelled_bags(cohort: Path):
    job = job_of(cohort, "abmil")
    job.module.eval()
    batch = bags_of(job)
    batch[0] = replace(batch[0], labels=torch.tensor([torch.nan, 1.0, torch.nan]))
    batch[1:] = [replace(bag, labels=torch.tensor([1.0, 2.0, 30.0])) for bag in batch[1:]]
    together = job.batch_losses(batch)
    alone = [job.batch_losses([bag]) for bag in batch]
    assert "tumour" not in alone[0]
    for name, loss in together.items():
        parts = [each[name] for each in alone if name in each]
        torch.testing.assert_close(loss, torch.stack(parts).mean())


@pytest.mark.parametrize("count", [1, 2, 3, 9, 100])
def test_a_thinned_bag_has_a_share_of_its_own_tiles_and_each_of_them_comes(count: int):
    bag = Bag(features=torch.arange(float(count))[:, None], labels=torch.zeros(3))
    generator = torch.Generator().manual_seed(0)
    drawn = [thinned(bag, SamplingTable(tile_share=0.5), generator).features[:, 0] for _ in range(60)]
    assert {len(rows) for rows in drawn} == {max(1, round(count / 2))}
    assert all(len(set(rows.tolist())) == len(rows) and rows.tolist() == sorted(rows.tolist()) for rows in drawn)
    assert set(torch.cat(drawn).tolist()) == set(range(count))

"""Tasks are drawn alike, and so are the images of a task."""

import pytest
import torch
from scipy.stats import chisquare

from napari_mtlpath.training.pool.sampler import TaskSampler


def test_every_image_comes_with_its_weight() -> None:
    sizes, draws = [2, 5, 20], 60_000
    sampler = TaskSampler(sizes)
    tasks, places = sampler.draw(draws, torch.Generator().manual_seed(0))
    starts = torch.tensor([0, 2, 7])
    found = torch.bincount(starts[tasks] + places, minlength=27)
    expected = torch.cat(sampler.weights()) * draws
    assert chisquare(found.numpy(), expected.numpy()).pvalue > 0.001
    assert chisquare(torch.bincount(tasks).numpy()).pvalue > 0.001
    # The same test tells a draw over all images apart, and one that never shows a task's last image.
    everywhere = torch.bincount(torch.randint(27, (draws,), generator=torch.Generator().manual_seed(0)), minlength=27)
    assert chisquare(everywhere.numpy(), expected.numpy()).pvalue < 1e-9


def test_weights_are_one_over_tasks_times_images() -> None:
    weights = TaskSampler([4, 1000]).weights()
    assert [float(each[0]) for each in weights] == [1 / 8, 1 / 2000]
    assert float(torch.cat(weights).sum()) == pytest.approx(1.0)


def test_the_same_generator_draws_the_same() -> None:
    first, second = (TaskSampler([3, 9]).draw(50, torch.Generator().manual_seed(4)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_task_without_images_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least one training image; found \[3, 0\]"):
        TaskSampler([3, 0])

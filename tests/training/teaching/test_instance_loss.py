"""The loss on single tiles equals its closed form and reaches the router."""

import math

import pytest
import torch

from napari_mtlpath.nn.outputs import TaskOutput
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.training.teaching.instance_loss import instance_loss

TASK = Classification(name="a")
NAN = math.nan


def output(*, tiles: list[float] | None = None, routing: torch.Tensor | None = None) -> TaskOutput:
    return TaskOutput(
        logits=torch.zeros(1),
        embedding=torch.zeros(2),
        routing=routing,
        tile_logits=None if tiles is None else torch.tensor(tiles)[:, None],
    )


def test_every_class_weighs_the_same_and_unknown_tiles_nothing():
    said = [output(tiles=[2.0, -1.0, 9.0]), output(tiles=[0.5, 0.5, 0.5])]
    labels = [torch.tensor([1.0, 0.0, NAN]), torch.tensor([0.0, 0.0, 0.0])]
    positive = math.log1p(math.exp(-2.0))
    negative = (math.log1p(math.exp(-1.0)) + 3 * math.log1p(math.exp(0.5))) / 4
    assert float(instance_loss(TASK, said, labels)) == pytest.approx((positive + negative) / 2, rel=1e-5)


def test_router_is_to_put_its_weight_on_the_class_that_is_looked_for():
    logits = torch.tensor([0.3, -0.2, 1.0, 5.0], requires_grad=True)
    labels = torch.tensor([1.0, 1.0, 0.0, NAN])
    loss = instance_loss(TASK, [output(routing=torch.softmax(logits, dim=0))], [labels])
    sought = math.exp(0.3) + math.exp(-0.2)
    assert loss is not None
    assert float(loss.detach()) == pytest.approx(-math.log(sought / (sought + math.exp(1.0))), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert bool((logits.grad[:2] < 0).all())
    assert float(logits.grad[2]) > 0
    assert float(logits.grad[3]) == pytest.approx(0.0, abs=1e-6)  # nobody said what the unlabelled tile is


def test_router_that_has_given_a_tile_up_gives_no_infinite_loss():
    loss = instance_loss(TASK, [output(routing=torch.tensor([0.0, 1.0]))], [torch.tensor([1.0, 0.0])])
    assert loss is not None
    assert math.isfinite(float(loss))


def test_without_labels_or_without_answers_about_tiles_there_is_no_loss():
    assert instance_loss(TASK, [output(tiles=[1.0])], [torch.tensor([NAN])]) is None
    assert instance_loss(TASK, [output()], [torch.tensor([1.0])]) is None


def test_regression_counts_the_error_in_its_range():
    task = Regression(name="fat", low=0.0, high=4.0)
    loss = instance_loss(task, [output(tiles=[1.0, 3.0])], [torch.tensor([3.0, NAN])])
    assert float(loss) == pytest.approx(0.25)

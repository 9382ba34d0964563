"""DSMIL against its equations: the critical tile, and what is gathered around it."""

import pytest
import torch
from torch import Tensor

from napari_mtlpath.nn.aggregators.dsmil import DSMIL
from napari_mtlpath.tasks import Classification, Regression, Task

TASKS: tuple[Task, ...] = (
    Classification(name="witness"),
    Classification(name="grade", classes=("low", "middle", "high")),
    Regression(name="share"),
)
BAG = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))


def built(**options: object) -> DSMIL:
    options = {"width": 8, "query_width": 4, "dropout": 0.0, **options}
    model = DSMIL.build(tasks=TASKS, features=6, options=options, generator=torch.Generator().manual_seed(1))
    assert isinstance(model, DSMIL)
    return model


def by_hand(model: DSMIL, branch: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the answers of both streams and the attention, one output and one tile at a time."""
    part = model.streams[branch]
    hidden = torch.relu(BAG @ model.projection[0].weight.T + model.projection[0].bias)
    tile_head, bag_head = part.heads["tile"], part.heads["bag"]
    critical, gathered, maps = [], [], []
    for output in range(TASKS[branch].outputs):
        scores = [float(tile_head.weight[output] @ tile + tile_head.bias[output]) for tile in hidden]
        most = max(range(len(scores)), key=scores.__getitem__)
        critical.append(torch.tensor(scores[most]))
        queries = [part.query.weight @ tile + part.query.bias for tile in hidden]
        alike = torch.stack([query @ queries[most] for query in queries]) / 4**0.5
        attention = alike.exp() / alike.exp().sum()
        values = [part.value.weight @ tile + part.value.bias for tile in hidden]
        gathered.append(sum(weight * value for weight, value in zip(attention, values, strict=True)))
        maps.append(attention)
    return torch.stack(critical), bag_head.weight @ torch.cat(gathered) + bag_head.bias, torch.stack(maps).mean(dim=0)


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_two_streams_are_those_of_the_paper(branch: int) -> None:
    model = built().eval()
    with torch.no_grad():
        answer = model(BAG, explain=True).tasks[TASKS[branch].name]
        critical, gathered, attention = by_hand(model, branch)
    torch.testing.assert_close(answer.logits, 0.5 * (critical + gathered), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(answer.attention, attention, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("branch", [0, 1, 2])
def test_each_stream_has_a_loss_of_its_own_under_the_tasks_criterion(branch: int) -> None:
    model = built(stream_weight=3.0).train()
    auxiliary = model(BAG).tasks[TASKS[branch].name].auxiliary
    critical, gathered, _ = by_hand(model, branch)

    def criterion(logits: Tensor, label: Tensor) -> Tensor:
        return (logits - label).square().sum()

    expected = 1.5 * (criterion(critical, torch.tensor(2.0)) + criterion(gathered, torch.tensor(2.0)))
    torch.testing.assert_close(auxiliary(torch.tensor(2.0), criterion), expected, atol=1e-4, rtol=1e-4)


def test_tile_answers_are_those_of_a_bag_of_that_tile() -> None:
    model = built().eval()
    with torch.inference_mode():
        said = model(BAG, explain=True).tasks
        for number, tile in enumerate(BAG.split(1)):
            for task, alone in model(tile).tasks.items():
                torch.testing.assert_close(said[task].tile_logits[number], alone.logits, atol=1e-5, rtol=1e-5)


def test_the_critical_tile_and_its_query_both_learn() -> None:
    model = built().train()
    model(BAG).tasks["grade"].logits.sum().backward()
    assert all(parameter.grad.any() for parameter in model.task_parameters("grade"))

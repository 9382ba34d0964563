"""Heads get the gradient of the mean over their own samples, the network that of the mean over the batch."""

import numpy as np
import pytest
import torch
from made_pool import made_pool, made_task, pool_config, tiny_network
from torch.nn import functional

from napari_mtlpath.balancing.balancer import parse
from napari_mtlpath.training.loop.distributed import ALONE
from napari_mtlpath.training.loop.private_random import PrivateRandom
from napari_mtlpath.training.pool.pool_job import PoolBatch, PoolJob
from napari_mtlpath.training.pool.pool_network import PoolNetwork
from napari_mtlpath.training.step.step import Step
from napari_mtlpath.training.step.update import Update

CLASSES = (3, 4, 2)
TASKS = torch.tensor([0, 0, 0, 0, 0, 1, 1, 0])  # task 2 has no sample: B = 8, n = 6, 2, 0
LABELS = torch.tensor([0, 1, 2, 0, 1, 3, 0, 2])


def batch() -> PoolBatch:
    tiles = torch.randint(256, (8, 4, 4, 3), generator=torch.Generator().manual_seed(3), dtype=torch.uint8)
    return PoolBatch(tiles=tiles, tasks=TASKS, labels=LABELS)


class BareJob(PoolJob):
    """Only what a step needs of a job: the network given, the config's settings."""

    def __init__(self, module: PoolNetwork, **tables: object) -> None:
        self.config = pool_config(**tables)
        self.module = module
        self.device = torch.device("cpu")


def backward(module: PoolNetwork) -> dict[str, torch.Tensor | None]:
    """Return the gradients that one step of the loop would use."""
    job = BareJob(module)
    Update(module, parse("equal", tasks=job.task_names)).backward(job.batch_losses(batch()))
    return {name: None if p.grad is None else p.grad.clone() for name, p in module.named_parameters()}


def plain_losses(module: PoolNetwork) -> list[torch.Tensor]:
    """The summed cross-entropy of each task, written out sample by sample."""
    features = module.network(batch().tiles)
    sums = []
    for index, task in enumerate(module.tasks[:2]):
        head = module.heads[task.name]
        own = features[index == TASKS]
        logits = own @ head.weight.T + head.bias
        picked = torch.log_softmax(logits, 1)[torch.arange(len(own)), LABELS[index == TASKS]]
        sums.append(-picked.sum())
    return sums


def test_the_networks_gradient_is_that_of_the_mean_over_the_batch() -> None:
    module = tiny_network(CLASSES)
    found = backward(module)
    shared = dict(module.network.named_parameters())
    expected = torch.autograd.grad(sum(plain_losses(module)) / len(TASKS), list(shared.values()))
    for name, gradient in zip(shared, expected, strict=True):
        torch.testing.assert_close(found[f"network.{name}"], gradient, rtol=1e-5, atol=1e-7)


def test_a_heads_gradient_is_that_of_the_mean_over_its_own_samples() -> None:
    module = tiny_network(CLASSES)
    found = backward(module)
    for task, loss, count in zip(module.tasks, plain_losses(module), (6, 2), strict=False):
        head = dict(module.heads[task.name].named_parameters())
        expected = torch.autograd.grad(loss / count, list(head.values()), retain_graph=True)
        for name, gradient in zip(head, expected, strict=True):
            torch.testing.assert_close(found[f"heads.{task.name}.{name}"], gradient, rtol=1e-5, atol=1e-7)


def test_a_heads_gradient_has_the_closed_form_of_softmax_regression() -> None:
    module = tiny_network(CLASSES)
    found = backward(module)
    with torch.no_grad():
        features = module.network(batch().tiles)[TASKS == 1]
        logits = features @ module.heads["t1"].weight.T + module.heads["t1"].bias
        error = torch.softmax(logits, 1) - functional.one_hot(LABELS[TASKS == 1], 4)
    torch.testing.assert_close(found["heads.t1.weight"], error.T @ features / 2, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found["heads.t1.bias"], error.mean(0), rtol=1e-5, atol=1e-7)


def test_a_head_without_a_sample_has_no_gradient() -> None:
    found = backward(tiny_network(CLASSES))
    assert found["heads.t2.weight"] is None
    assert found["heads.t2.bias"] is None


def test_the_losses_mean_over_tasks_is_the_mean_over_samples() -> None:
    module = tiny_network(CLASSES)
    losses = BareJob(module).batch_losses(batch())
    assert list(losses) == ["t0", "t1"]
    mean = torch.stack(list(losses.values())).mean()
    assert float(mean) == pytest.approx(float(sum(plain_losses(module))) / len(TASKS), rel=1e-5)


def step_of(module: PoolNetwork, **tables: object) -> tuple[BareJob, Step]:
    job = BareJob(module, **tables)
    settings = job.config.optimisation.settings()
    update = Update(module, parse("equal", tasks=job.task_names))
    random = PrivateRandom(0, device=torch.device("cpu"))
    return job, Step(job, settings, update, random=random, processes=ALONE)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_head_that_learned_before_is_not_moved_by_momentum_or_decay_while_it_is_absent(optimizer: str) -> None:
    module = tiny_network(CLASSES)
    _, step = step_of(module, optimisation={"optimizer": optimizer, "weight_decay": 0.5, "learning_rate": 0.1})
    everyone = batch()
    step.take([PoolBatch(tiles=everyone.tiles, tasks=TASKS % 2 + 1, labels=torch.zeros(8, dtype=torch.int64))])
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    step.take([everyone])  # tasks 0 and 1: task 2 had its turn in the step before
    for name, parameter in module.named_parameters():
        moved = not torch.equal(parameter, before[name])
        assert moved == (not name.startswith("heads.t2")), name


def test_heads_learn_at_tau_times_the_rate_of_the_network() -> None:
    module = tiny_network(CLASSES)
    plain = {"optimizer": "sgd", "momentum": 0.0, "weight_decay": 0.0, "clip_norm": 1e9}
    _, step = step_of(module, optimisation=plain, heads={"rate_factor": 5.0})
    heads = {id(parameter) for parameter in module.heads.parameters()}
    step.set_learning_rate(0.01)
    rates = {
        id(parameter) in heads: group["lr"] for group in step.optimizer.param_groups for parameter in group["params"]
    }
    assert rates == {True: pytest.approx(0.05), False: pytest.approx(0.01)}
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    step.take([batch()])
    for name, p in module.named_parameters():
        if p.grad is not None:
            rate = 0.05 if name.startswith("heads") else 0.01
            torch.testing.assert_close(before[name] - p.detach(), rate * p.grad)


def test_warm_up_moves_heads_alone_and_leaves_weights_and_norm_buffers_bit_for_bit() -> None:
    module = tiny_network(CLASSES)
    heads = {"warmup_steps": 3, "warmup_rate": 0.5, "rate_factor": 5.0}
    job, step = step_of(module, optimisation={"optimizer": "sgd", "weight_decay": 0.1}, heads=heads)
    before = {name: value.clone() for name, value in module.network.state_dict().items()}
    first = module.heads["t0"].weight.detach().clone()
    for number in range(3):
        module.train()
        rate = job.begin_step(number, rate=1e-4)
        assert rate * 5.0 == pytest.approx(0.5)
        step.set_learning_rate(rate)
        step.take([batch()])
    after = module.network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert not torch.equal(module.heads["t0"].weight, first)
    assert job.begin_step(3, rate=1e-4) == 1e-4
    step.set_learning_rate(1e-4)
    step.take([batch()])
    moved = {name for name, value in module.network.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == set(before)  # weights, running statistics and their counter


def test_gradient_methods_work_on_the_networks_gradients_alone() -> None:
    plain, balanced = tiny_network(CLASSES), tiny_network(CLASSES)
    expected = backward(plain)
    job = BareJob(balanced)
    Update(balanced, parse("pcgrad", tasks=job.task_names)).backward(job.batch_losses(batch()))
    for name, parameter in balanced.heads.named_parameters():
        if parameter.grad is None:
            assert expected[f"heads.{name}"] is None
        else:
            torch.testing.assert_close(parameter.grad, expected[f"heads.{name}"])


def test_a_job_draws_batches_of_its_tasks() -> None:
    pool = made_pool(made_task("a"), made_task("b", classes=3, seed=1))
    job = PoolJob(pool_config(), pool, device=torch.device("cpu"))
    drawn = job.draw(200, torch.Generator().manual_seed(0))
    shades = drawn.tiles.float().mean((1, 2, 3)).numpy()
    for index, task in enumerate(job.pool.tasks):
        own = (drawn.tasks == index).numpy()
        means = [shades[own & (drawn.labels == code).numpy()].mean() for code in range(len(task.task.classes))]
        assert np.allclose(means, np.linspace(40, 200, len(means)), atol=6)  # each tile keeps its own label

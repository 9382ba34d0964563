"""Where the next step would lead: the derivative of validation losses by the weights of the training losses."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence

import torch
from torch import Tensor, nn

STRIDE = 0.01  # Length of the finite difference in parameter space (Liu et al., 2022, arXiv:2202.03091, section 3.3).

Losses = Callable[[], Mapping[str, Tensor]]
"""Computes the losses of one fixed batch with the module's present weights."""


def validation_slopes(
    module: nn.Module,
    *,
    train: Losses,
    validation: Losses,
    weights: Mapping[str, float],
    main: Sequence[str],
    learning_rate: float,
    weight_decay: float = 0.0,
    seed: int = 0,
) -> dict[str, float]:
    r"""Return the derivative of the main tasks' validation loss after a virtual step by each training loss's weight.

    With :math:`\theta' = \theta - \alpha (\nabla \frac1K \sum_i \lambda_i L_i(\theta) + \delta \theta)` and
    :math:`d = \nabla L^{val}(\theta')`, the derivative is :math:`-\frac{\alpha}{K} \langle d, \nabla L_i(\theta)
    \rangle` (Liu et al., 2022, arXiv:2202.03091, eq. 5), taken as the central difference :math:`(L_i(\theta + \epsilon
    d) - L_i(\theta - \epsilon d)) / 2 \epsilon` with :math:`\epsilon = 0.01 / \|d\|`: two forward passes, whatever the
    number of tasks.

    All passes run in evaluation mode and from the same seed: under dropout, masks that differ between the two ends of
    the difference would drown it. The module is left as it was: weights bit by bit, ``.grad``, mode of every part, and
    torch's generators.

    Parameters
    ----------
    module
        What the two functions compute losses with; all parameters that learn take part in the step.
    train, validation
        Losses by task of one training batch and of one batch that is not trained on; called several times. Rounding to
        half precision would drown the difference: let them compute in float32.
    weights
        :math:`\lambda` of each task.
    main
        Tasks whose validation losses are added up; those absent from the validation batch are left out.
    learning_rate, weight_decay
        :math:`\alpha` and :math:`\delta` of the virtual step.
    seed
        Of all passes.

    Returns
    -------
    dict
        One slope per task of the training batch; empty if the validation batch has no main task.
    """
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with _evaluating(module), _weights_restored(parameters) as start:
        losses = _from_seed(seed, train, parameters)
        total = torch.stack([weights[task] * loss for task, loss in losses.items()]).mean()
        _move(parameters, _gradients(total, parameters, start, weight_decay), by=-learning_rate)
        held_out = _from_seed(seed, validation, parameters)
        kept = [held_out[task] for task in main if task in held_out]
        if not kept:
            return {}
        direction = _gradients(torch.stack(kept).sum(), parameters, start, 0.0)
        length = torch.stack([piece.double().square().sum() for piece in direction]).sum().sqrt().item()
        if length == 0.0:
            return dict.fromkeys(losses, 0.0)
        ends = []
        for side in (1.0, -1.0):
            _restore(parameters, start)
            _move(parameters, direction, by=side * STRIDE / length)
            with torch.no_grad():
                ends.append(_from_seed(seed, train, parameters))
    scale = -learning_rate / len(losses) * length / (2.0 * STRIDE)
    return {task: scale * (ends[0][task].double() - ends[1][task].double()).item() for task in losses}


@contextlib.contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextlib.contextmanager
def _weights_restored(parameters: Sequence[nn.Parameter]) -> Iterator[list[Tensor]]:
    start = [parameter.detach().clone() for parameter in parameters]
    try:
        yield start
    finally:
        _restore(parameters, start)


def _from_seed(seed: int, compute: Losses, parameters: Sequence[nn.Parameter]) -> Mapping[str, Tensor]:
    devices = sorted({parameter.device.index for parameter in parameters if parameter.device.type == "cuda"})
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        for device in devices:
            torch.cuda.default_generators[device].manual_seed(seed)
        return compute()


def _gradients(
    loss: Tensor, parameters: Sequence[nn.Parameter], start: Sequence[Tensor], weight_decay: float
) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return [
        (torch.zeros_like(value) if piece is None else piece) + weight_decay * value
        for piece, value in zip(found, start, strict=True)
    ]


@torch.no_grad()
def _move(parameters: Sequence[nn.Parameter], direction: Sequence[Tensor], *, by: float) -> None:
    for parameter, piece in zip(parameters, direction, strict=True):
        parameter.add_(piece, alpha=by)


@torch.no_grad()
def _restore(parameters: Sequence[nn.Parameter], start: Sequence[Tensor]) -> None:
    for parameter, value in zip(parameters, start, strict=True):
        parameter.copy_(value)

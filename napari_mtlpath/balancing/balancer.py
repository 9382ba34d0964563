"""A balancing method by the name that users type, such as ``uncert+cagrad``."""

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from torch import nn

from napari_mtlpath.balancing.contract import GradientBalancer, LossBalancer
from napari_mtlpath.plugins import PluginFolder

LOSSES: PluginFolder[LossBalancer] = PluginFolder(
    "napari_mtlpath.balancing.losses",
    contract=LossBalancer,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="loss balancing method",
)
GRADIENTS: PluginFolder[GradientBalancer] = PluginFolder(
    "napari_mtlpath.balancing.gradients",
    contract=GradientBalancer,  # type: ignore[type-abstract]  # a contract is abstract by nature
    noun="gradient balancing method",
)
DEFAULT = "equal"
NO_GRADIENT_METHOD = "none"

Options = Mapping[str, Mapping[str, Any]]
Half = TypeVar("Half", LossBalancer, GradientBalancer)


class Balancer(nn.Module):
    """A loss balancing method, then a gradient balancing method or none.

    Attributes
    ----------
    name
        Canonical name, such as ``"dwa"`` or ``"equal+pcgrad"``.
    losses
        What the task losses are multiplied by.
    gradients
        How the gradients of the weighted losses become one; None adds them up.
    """

    def __init__(self, losses: LossBalancer, gradients: GradientBalancer | None, *, name: str) -> None:
        super().__init__()
        self.losses = losses
        self.gradients = gradients
        self.name = name

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of all tasks."""
        return self.losses.tasks


def parse(name: str, *, tasks: Sequence[str], options: Options | None = None) -> Balancer:
    """Make the balancer that a user named.

    Parameters
    ----------
    name
        ``LOSSES``, ``GRADIENTS`` or ``LOSSES+GRADIENTS``; a gradient method alone balances equally weighted losses, and
        ``none`` in its place stands for no gradient method.
    tasks
        Names of all tasks of the model, in its order.
    options
        Options by method, such as ``{"cagrad": {"c": 0.4}}``.

    Raises
    ------
    ValueError
        If there is no such method or option; the message names the nearest one.

    Examples
    --------
    >>> parse("equal", tasks=["basophils", "blasts"]).name
    'equal'
    """
    given = dict(options or {})
    first, second = _halves(name)
    losses = _made(LOSSES, first, given.pop(first, {}), tuple(tasks))
    gradients = _made(GRADIENTS, second, given.pop(second, {})) if second else None
    if given:
        raise ValueError(f"Options are given for {', '.join(sorted(given))}, which {name!r} does not use. Remove them.")
    return Balancer(losses, gradients, name=f"{first}+{second}" if second else first)


def names() -> tuple[str, ...]:
    """Return all names that :func:`parse` reads in their canonical form, without importing any method."""
    pairs = [f"{losses}+{gradients}" for losses in LOSSES.names() for gradients in GRADIENTS.names()]
    return (*LOSSES.names(), *pairs)


def _halves(name: str) -> tuple[str, str]:
    parts = [part.strip() for part in name.split("+")]
    if len(parts) > 2 or not all(parts):
        raise ValueError(
            f"A balancing method is a loss method, a gradient method, or both joined by '+', such as 'uncert+cagrad'; "
            f"found {name!r}. Loss methods: {', '.join(LOSSES.names())}. Gradient methods: "
            f"{', '.join(GRADIENTS.names())}."
        )
    if len(parts) == 1 and parts[0] in GRADIENTS.names():
        return DEFAULT, parts[0]
    if len(parts) == 1:
        return _known(parts[0], (*LOSSES.names(), *GRADIENTS.names()), "balancing method"), ""
    losses = _known(parts[0], LOSSES.names(), LOSSES.noun)
    return losses, "" if parts[1] == NO_GRADIENT_METHOD else _known(parts[1], GRADIENTS.names(), GRADIENTS.noun)


def _known(name: str, choices: Sequence[str], noun: str) -> str:
    if name not in choices:
        raise ValueError(f"There is no {noun} called {name!r}.{_hint(name, choices)} Known: {', '.join(choices)}.")
    return name


def _hint(name: str, choices: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, choices, n=1)
    return f" Did you mean {found[0]!r}?" if found else ""


def _made(folder: PluginFolder[Half], name: str, options: Mapping[str, Any], *required: tuple[str, ...]) -> Half:
    kind = folder.load(name)
    known = list(inspect.signature(kind).parameters)[len(required) :]
    for option in options:
        if option not in known:
            raise ValueError(
                f"The {folder.noun} {name!r} has no option {option!r}.{_hint(option, known)} "
                f"Known: {', '.join(known) or 'none'}."
            )
    return kind(*required, **options)

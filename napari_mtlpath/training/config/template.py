"""Commented configs to start from: one for tile encoders, and one for each aggregator that there is."""

from pathlib import Path

import tomli_w

from napari_mtlpath.nn.options import nearest
from napari_mtlpath.tasks import Classification
from napari_mtlpath.zoo.aggregators import AGGREGATORS

FOLDER = Path(__file__).parent / "templates"
TILES = "tiles"
SLIDE_AWARE = "slide-aware"
POOL = "pool"
PIXELS = "pixels"

_OPTIMISATION = """\
[optimisation]
epochs = 30
batch = 4                    # bags per step
learning_rate = 1e-3
weight_decay = 0.01
warmup_epochs = 1.0
patience = 0                 # epochs without a better score before it stops; 0 never
main_task = ""               # the task whose score decides; "" for the mean over the tasks
"""


def template_names() -> tuple[str, ...]:
    """Return what :func:`template` knows.

    Examples
    --------
    >>> {"mecds", "joint-transformer", "abmil", "tiles"} <= set(template_names())
    True
    """
    return (*(name.replace("_", "-") for name in AGGREGATORS.names()), TILES, SLIDE_AWARE, POOL, PIXELS)


def template(name: str) -> str:
    """Return a commented config as TOML: of an aggregator by its name, or of a tile encoder.

    Tile encoders are ``tiles``, ``pool`` and ``slide-aware``, a pixel model is ``pixels``. An aggregator without a text
    of its own gets its options with their defaults.

    Raises
    ------
    ValueError
        If there is none of that name; the message names the nearest one.
    """
    wanted = name.replace("_", "-")
    if wanted not in template_names():
        known = ", ".join(template_names())
        raise ValueError(f"There is no template {name!r}.{nearest(wanted, template_names())} Known: {known}.")
    if wanted in (TILES, SLIDE_AWARE, POOL, PIXELS):
        return _text(wanted.replace("-", "_"))
    aggregator = wanted.replace("-", "_")
    own = FOLDER / f"{aggregator}.toml"
    part = _text(aggregator) if own.is_file() else _part(aggregator)
    title, _, rest = part.partition("\n")
    body = _text("bags").replace("@AGGREGATOR@", rest.replace("@OPTIMISATION@", _OPTIMISATION).rstrip() + "\n")
    return f"{title}\n{body}".replace('name = "my-model" ', f'name = "my-{wanted}" ')


def _part(aggregator: str) -> str:
    """Return the tables of an aggregator that has no text of its own."""
    kind = AGGREGATORS.load(aggregator)
    options = kind.build(tasks=[Classification(name="task")], features=8, options={}).options
    first = (kind.__doc__ or aggregator).strip().splitlines()[0].rstrip(".")
    tables = tomli_w.dumps({"aggregator": {"name": aggregator, "options": options}})
    return f"# {kind.__name__}: {first}.\n{tables}\n{_OPTIMISATION}"


def _text(name: str) -> str:
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")

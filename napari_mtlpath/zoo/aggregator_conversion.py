"""From torch to OpenVINO: an aggregator is converted once, and kept only where its answers stay the same."""

import logging
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mtlpath.encoders.conversion import record
from napari_mtlpath.encoders.openvino_encoder import OpenvinoRefused
from napari_mtlpath.encoders.parity import real_tiles
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.nn.aggregator import Aggregator
from napari_mtlpath.nn.answers import BagAnswer, TaskAnswer
from napari_mtlpath.nn.routing import choosing
from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.zoo.openvino_aggregator import FIELDS, NETWORK_FILE, OpenvinoAggregator, RecordedOutputs

TRACED_TILES = 17
COMPARED_TILES = (1, 2, 7, 64, 700, 4500)
"""Sizes of the bags on which both must agree; the largest is more than is answered tile by tile at once."""

TOLERANCE = 1e-3
"""Largest difference of a logit, as a share of one plus its size; the same for N times a weight over the tiles."""

TILE_SPREAD_UM = 20_000.0

logger = logging.getLogger(__name__)


class _Recorded(nn.Module):
    """An aggregator with all explanations as tensors in, tensors out; `chosen` [router, tile] stands for the rule."""

    def __init__(self, aggregator: Aggregator) -> None:
        super().__init__()
        self.aggregator = aggregator
        self.fields: dict[str, list[str]] = {}
        self.thresholds: list[float] = []

    def forward(
        self, bag: Float[Tensor, "tile feature"], centres: Float[Tensor, "tile 2"], chosen: Float[Tensor, "router tile"]
    ) -> tuple[Tensor, ...]:
        weights: list[Tensor] = []
        self.fields, self.thresholds = {}, []

        def choose(phi: Tensor, p: float) -> Bool[Tensor, " tile"]:
            weights.append(phi)
            self.thresholds.append(p)
            return chosen[len(weights) - 1] > 0.5

        with choosing(choose):
            output = self.aggregator(bag, centres, explain=True)
        outputs: list[Tensor] = []
        for name, said in output.tasks.items():
            present = [field for field in FIELDS if getattr(said, field) is not None]
            self.fields[name] = present
            # Copies: where two outputs are one tensor, OpenVINO would hand out one.
            outputs += [getattr(said, field).float() * 1.0 for field in present]
        return (*outputs, *(phi * 1.0 for phi in weights))


def convert_aggregator(aggregator: Aggregator, folder: Path) -> RecordedOutputs:
    """Write an aggregator's network to `folder` as OpenVINO reads it.

    Raises
    ------
    OpenvinoRefused
        If torch cannot record it or OpenVINO does not know one of its operations.
    """
    recorded = _Recorded(aggregator).eval()
    bag, centres = torch.randn(TRACED_TILES, aggregator.features), torch.rand(TRACED_TILES, 2)
    routers = max(1, _routers(aggregator, bag, centres))
    chosen = (torch.arange(TRACED_TILES) % 2 == 0).float().expand(routers, -1).contiguous()
    shapes = [(-1, aggregator.features), (-1, 2), (routers, -1)]
    try:
        record(recorded, (bag, centres, chosen), folder / NETWORK_FILE, shapes=shapes)
    except FOREIGN_ERRORS as error:
        raise OpenvinoRefused(f"{_named(aggregator)} cannot be converted: {brief(error)}.") from error
    return RecordedOutputs(tasks=recorded.fields, thresholds=recorded.thresholds)


def verify_aggregator(aggregator: Aggregator, made: OpenvinoAggregator, *, encoder: TileEncoder) -> None:
    """Compare answers on bags of several sizes whose tiles are spread as real ones are.

    Raises
    ------
    OpenvinoRefused
        If an answer differs beyond `TOLERANCE`, in one sentence.
    """
    for bag, centres in _bags(encoder):
        try:
            difference = largest_difference(aggregator.answer_bag(bag, centres), made.answer_bag(bag, centres))
        except FOREIGN_ERRORS as error:
            raise OpenvinoRefused(f"{_named(aggregator)} fails on {len(bag)} tiles: {brief(error)}.") from error
        if not difference <= TOLERANCE:
            raise OpenvinoRefused(
                f"{_named(aggregator)} does not give torch's answers: they differ by {difference:.2g} on "
                f"{len(bag)} tiles, {TOLERANCE:g} is allowed."
            )
    logger.info("%s gives torch's answers within %g", _named(aggregator), TOLERANCE)


def largest_difference(exact: BagAnswer, fast: BagAnswer) -> float:
    """Return the largest difference of two answers, as `TOLERANCE` counts it; infinite where they are of other kinds.

    Examples
    --------
    >>> one, two = (BagAnswer(tasks={"a": TaskAnswer(logits=np.array([x]))}) for x in (1.0, 1.5))
    >>> largest_difference(one, one), largest_difference(one, two)
    (0.0, 0.25)
    """
    if list(exact.tasks) != list(fast.tasks):
        return float("inf")
    return max(
        max(_difference_in(said, fast.tasks[name], field) for field in FIELDS) for name, said in exact.tasks.items()
    )


def _difference_in(exact: TaskAnswer, fast: TaskAnswer, field: str) -> float:
    wanted, found = getattr(exact, field), getattr(fast, field)
    chosen = field == "selected" and wanted is not None and found is not None and wanted.shape == found.shape
    if chosen and exact.routing is not None:
        # Which of two tiles of equal weight is kept hangs on the last bit: what counts is how far from equal they are.
        weights = exact.routing.astype(np.float64) * len(exact.routing)
        least = weights[wanted].min()
        return float((np.abs(weights - least) / (1.0 + least))[wanted != found].max(initial=0.0))
    return _difference(wanted, found, over_tiles=field in ("routing", "attention"))


def _difference(exact: NDArray[np.generic] | None, fast: NDArray[np.generic] | None, *, over_tiles: bool) -> float:
    if exact is None and fast is None:
        return 0.0
    if exact is None or fast is None or exact.shape != fast.shape:
        return float("inf")
    scale = len(exact) if over_tiles else 1
    wanted, found = exact.astype(np.float64) * scale, fast.astype(np.float64) * scale
    return float((np.abs(wanted - found) / (1.0 + np.abs(wanted))).max())


def _bags(encoder: TileEncoder) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    real = encoder.embed_pixels(real_tiles(int(encoder.tile_px)))
    mean, spread = real.mean(axis=0), real.std(axis=0)
    rng = np.random.default_rng(0)
    return [
        (
            (mean + spread * rng.standard_normal((count, len(mean)))).astype(np.float32),
            (rng.random((count, 2)) * TILE_SPREAD_UM).astype(np.float32),
        )
        for count in COMPARED_TILES
    ]


def _routers(aggregator: Aggregator, bag: Tensor, centres: Tensor) -> int:
    asked: list[float] = []

    def count(phi: Tensor, p: float) -> Bool[Tensor, " tile"]:
        asked.append(p)
        return torch.ones_like(phi, dtype=torch.bool)

    with torch.inference_mode(), choosing(count):
        aggregator(bag, centres, explain=True)
    return len(asked)


def _named(aggregator: Aggregator) -> str:
    return f"The aggregator {type(aggregator).__name__} through OpenVINO"

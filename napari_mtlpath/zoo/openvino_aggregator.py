"""An aggregator through OpenVINO: a converted network whose answers were seen to be torch's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.encoders.openvino_runtime import openvino_runtime
from napari_mtlpath.nn.answers import BagAnswer, TaskAnswer
from napari_mtlpath.nn.selection import kept_tiles
from napari_mtlpath.processors import Processor, usable_cores

if TYPE_CHECKING:
    from napari_mtlpath.nn.aggregator import Aggregator

NETWORK_FILE = "aggregator.xml"
FIRST_TILES = 8
FIELDS = ("logits", "routing", "selected", "attention", "tile_logits")
"""What is recorded of each task's answer, where the model has it, in the order of the network's outputs."""


@dataclass(frozen=True, kw_only=True)
class RecordedOutputs:
    """What the outputs of a recorded aggregator are.

    Attributes
    ----------
    tasks
        By task, the fields of :class:`TaskAnswer` that follow each other.
    thresholds
        One p per router; the routers' weights come last, in the order in which they were asked.
    """

    tasks: Mapping[str, Sequence[str]]
    thresholds: Sequence[float]


class OpenvinoAggregator:
    """A compiled aggregator, in float32.

    OpenVINO's CPU has no 64-bit numbers, which the top-p rule needs. So the choice of tiles is an input of the network:
    it is run with every tile chosen, the rule is applied to the weights that come out, and so on until the choice
    stays, which takes as many runs as the model has blocks, and one more.

    Parameters
    ----------
    folder
        Where the converted network lies; compiled code is kept beside it.
    outputs
        What its outputs are.
    build
        Makes torch's aggregator, for what only torch can do, such as teaching.
    """

    backend = "OpenVINO (float32)"

    def __init__(self, *, folder: Path, outputs: RecordedOutputs, build: "Callable[[], Aggregator]") -> None:
        openvino = openvino_runtime()
        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": usable_cores(),
            "ENABLE_CPU_PINNING": False,
            "CACHE_DIR": str(folder / "compiled"),
        }
        self._outputs = outputs
        self._build = build
        self._built: Aggregator | None = None
        self._request = (
            openvino.Core().compile_model(str(folder / NETWORK_FILE), "CPU", settings).create_infer_request()
        )
        # Once with several tiles: OpenVINO 2026.4 was seen to keep to one tile's shapes where its first bag has one.
        features, routers = self._request.model_inputs[0].partial_shape[1].get_length(), self._routers
        first = (np.zeros((FIRST_TILES, size), np.float32) for size in (features, 2))
        self._run(*first, np.ones((max(1, routers), FIRST_TILES), np.float32))

    @property
    def _routers(self) -> int:
        return len(self._outputs.thresholds)

    @property
    def network(self) -> "Aggregator":
        """Torch's network, built at the first question."""
        if self._built is None:
            self._built = self._build()
        return self._built

    def to(self, device: Processor) -> None:
        """Stay on the CPU; raise ValueError if asked elsewhere."""
        if device.type != "cpu":
            raise ValueError(f"OpenVINO computes on the CPU; found device {str(device)!r}. Choose the backend 'torch'.")

    def answer_bag(self, features: NDArray[np.float32], centres: NDArray[np.float32]) -> BagAnswer:
        """Answer for embeddings [tile, feature] with centres in microns [tile, 2], with all explanations.

        Raises
        ------
        ValueError
            If the choice of tiles does not settle, as with weights that are not finite.
        """
        routers = self._routers
        chosen = np.ones((max(1, routers), len(features)), np.float32)
        for _ in range(routers + 2):
            found = self._run(features, centres, chosen)
            weights = found[len(found) - routers :]
            kept = [
                kept_tiles(phi, p).astype(np.float32) for phi, p in zip(weights, self._outputs.thresholds, strict=True)
            ]
            wanted = np.stack(kept) if kept else chosen
            if np.array_equal(wanted, chosen):
                return self._answer(found)
            chosen = wanted
        raise ValueError("The model's choice of tiles does not settle. Choose the backend 'torch'.")

    def _run(self, *inputs: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        self._request.infer(dict(enumerate(inputs)), share_inputs=True)
        count = len(self._request.model_outputs)
        return [np.array(self._request.get_output_tensor(number).data, np.float32) for number in range(count)]

    def _answer(self, found: Sequence[NDArray[np.float32]]) -> BagAnswer:
        tasks, position = {}, 0
        for task, fields in self._outputs.tasks.items():
            values: dict[str, Any] = dict(zip(fields, found[position:], strict=False))
            position += len(fields)
            values["logits"] = values["logits"].astype(np.float64)
            if "selected" in values:
                values["selected"] = values["selected"] > 0.5
            tasks[task] = TaskAnswer(**values)
        return BagAnswer(tasks=tasks)

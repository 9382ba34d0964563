"""Encoders on CPUs through OpenVINO: the same network in other arithmetic, seen to give the same features."""

import itertools
import logging
import math
import queue
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from numpy.typing import NDArray
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.parity import Agreement, agreement, real_tiles
from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.units import TilePixels
from napari_mtlpath.weights import state_sha256

PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}
"""Arithmetic that is tried, fastest first, with OpenVINO's names for it."""

NETWORK_FILE = "network.xml"
TRACED_TILES = 2
MOST_STREAMS = 16
LEAST_TILES = 2
"""Tiles in a part of a batch at least: a tile alone may take another path and differ in the last bit."""

logger = logging.getLogger(__name__)


class OpenvinoRefused(ValueError):
    """OpenVINO cannot stand for torch with this encoder; the message says why and what to do."""


class OpenvinoEncoder(Encoder):
    """A compiled network. Its features carry a digest of their own: they never mix with torch's.

    Every stream computes on a core of its own and waits for no other. A batch is shared among as many streams as torch
    has threads where `embed` is called, which may be in several threads at once.

    Parameters
    ----------
    name, features, tile_px
        The encoder's.
    base_digest
        Digest of the torch encoder that it was made from.
    folder
        Where the converted network lies; compiled code is kept beside it.
    precision
        A key of `PRECISIONS`.
    """

    def __init__(
        self, *, name: str, features: int, tile_px: int, base_digest: str, folder: Path, precision: str
    ) -> None:
        import openvino

        self.name = name
        self.features = features
        self.tile_px = TilePixels(tile_px)
        self._base_digest = base_digest
        self.precision = precision
        self.backend = f"OpenVINO ({precision})"
        description = {"encoder": base_digest, "backend": f"openvino {openvino.__version__}", "precision": precision}
        self.digest = state_sha256({}, description=description)
        self.module = nn.Module()  # nothing of torch is left: the weights are in the compiled network
        streams = min(torch.get_num_threads(), MOST_STREAMS)
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,  # threads bound to cores would fight the reader threads for them
            "CACHE_DIR": str(folder / "compiled"),
        }
        self._streams = streams
        self._compiled = openvino.Core().compile_model(str(folder / NETWORK_FILE), "CPU", settings)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # requests with which nobody computes

    @property
    def base_digest(self) -> str:
        """The digest of the torch encoder that it was made from."""
        return self._base_digest

    def facts(self) -> dict[str, object]:
        """Return what the constructor takes, without the folder, as plain data."""
        return {
            "name": self.name,
            "features": self.features,
            "tile_px": int(self.tile_px),
            "base_digest": self._base_digest,
            "precision": self.precision,
        }

    def to(self, device: torch.device) -> None:
        """Stay on the CPU; raise ValueError if asked elsewhere."""
        if device.type != "cpu":
            raise ValueError(f"OpenVINO computes on the CPU; found device {str(device)!r}. Choose the backend 'torch'.")

    def embed(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        """Embed RGB tiles on the CPU; float32."""
        batch = tiles.contiguous().numpy()
        parts = max(1, min(torch.get_num_threads(), self._streams, len(batch) // LEAST_TILES))
        edges = np.linspace(0, len(batch), parts + 1).astype(int).tolist()
        under_way = [self._begun(batch[first:end]) for first, end in itertools.pairwise(edges)]
        return torch.from_numpy(np.concatenate([self._finished(request) for request in under_way]))

    def _begun(self, part: NDArray[np.uint8]) -> Any:  # noqa: ANN401  # OpenVINO's
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        request.start_async({0: part}, share_inputs=True)
        return request

    def _finished(self, request: Any) -> NDArray[np.float32]:  # noqa: ANN401  # OpenVINO's
        request.wait()
        found = np.array(request.get_output_tensor(0).data, np.float32)
        self._idle.put(request)
        return found


def convert(encoder: Encoder, folder: Path) -> None:
    """Write an encoder's network to `folder` as OpenVINO reads it.

    Raises
    ------
    OpenvinoRefused
        If torch cannot trace it or OpenVINO does not know one of its operations.
    """
    import openvino
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    side = int(encoder.tile_px)
    example = torch.zeros(TRACED_TILES, side, side, 3, dtype=torch.uint8)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated, and warns of shapes that are fixed on purpose
            traced = torch.jit.trace(encoder.module, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch's
            # The front end itself and not `openvino.convert_model`, which reports its use over the network.
            front_end = FrontEndManager().load_by_framework("pytorch")
            decoder = TorchScriptPythonDecoder(traced, example_input=example)  # held: the front end does not own it
            network = front_end.convert(front_end.load(decoder))
        network.reshape({0: [-1, side, side, 3]})
        openvino.save_model(network, str(folder / NETWORK_FILE), compress_to_fp16=False)
    except FOREIGN_ERRORS as error:
        raise OpenvinoRefused(
            f"OpenVINO cannot convert encoder {encoder.name!r}: {brief(error)}. Choose the backend 'torch'."
        ) from error


def verified(encoder: Encoder, folder: Path) -> OpenvinoEncoder:
    """Return the fastest form of a converted encoder whose features agree with torch's on real tissue.

    Raises
    ------
    OpenvinoRefused
        If none does.
    """
    tiles = torch.from_numpy(real_tiles(int(encoder.tile_px)))
    with torch.inference_mode():
        exact = encoder.embed(tiles).float().cpu().numpy()
    said = ""
    for precision in _offered():
        try:
            made = OpenvinoEncoder(base_digest=encoder.digest, folder=folder, precision=precision, **_facts(encoder))
            found = agreement(exact, _embedded(made, tiles))
        except FOREIGN_ERRORS as error:
            said = f"fails: {brief(error)}"
            continue
        if found.enough:
            logger.info("Encoder %s through %s agrees with torch to %s", encoder.name, made.backend, found)
            return made
        said = _disagreement(found)
        logger.info("Encoder %s through %s %s", encoder.name, made.backend, said)
    raise OpenvinoRefused(f"Encoder {encoder.name!r} through OpenVINO {said}. Choose the backend 'torch'.")


def _offered() -> list[str]:
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [precision for precision in PRECISIONS if precision == "float32" or "BF16" in able]


def _facts(encoder: Encoder) -> Mapping[str, Any]:
    return {"name": encoder.name, "features": encoder.features, "tile_px": int(encoder.tile_px)}


def _embedded(encoder: Encoder, tiles: Tensor) -> NDArray[np.float32]:
    return encoder.embed(tiles).numpy()


def _disagreement(found: Agreement) -> str:
    if math.isnan(found.cosine):
        return "gives features that are not finite or of another shape than torch's"
    return f"does not give torch's features: it agrees to {found} only"

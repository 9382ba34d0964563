"""Encoders on CPUs through OpenVINO: the same network in other arithmetic, seen to give the same features."""

import itertools
import queue
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.encoders.openvino_runtime import openvino_runtime
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.hashes import description_sha256
from napari_mtlpath.processors import Processor, computing_threads
from napari_mtlpath.units import TilePixels

PRECISIONS = {"bfloat16": "bf16", "float32": "f32"}
"""Arithmetic that is tried, fastest first, with OpenVINO's names for it."""

NETWORK_FILE = "network.xml"
MOST_STREAMS = 16
LEAST_TILES = 2
"""Tiles in a part of a batch at least: a tile alone may take another path and differ in the last bit."""


class OpenvinoRefused(ValueError):
    """OpenVINO cannot stand for torch with this network; the message says why and what to do."""


class OpenvinoEncoder(TileEncoder):
    """A compiled network. Its features carry a digest of their own: they never mix with torch's.

    Every stream computes on a core of its own and waits for no other. A batch is shared among as many streams as
    there are computing threads where `embed` is called, which may be in several threads at once.

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
        openvino = openvino_runtime()
        self.name = name
        self.features = features
        self.tile_px = TilePixels(tile_px)
        self._base_digest = base_digest
        self.precision = precision
        self.backend = f"OpenVINO ({precision})"
        description = {"encoder": base_digest, "backend": f"openvino {openvino.__version__}", "precision": precision}
        self.digest = description_sha256(description)
        streams = min(computing_threads(), MOST_STREAMS)
        settings = {
            "INFERENCE_PRECISION_HINT": PRECISIONS[precision],
            "NUM_STREAMS": streams,
            "INFERENCE_NUM_THREADS": streams,
            "ENABLE_CPU_PINNING": False,  # threads bound to cores would fight the reader threads for them
            "CACHE_DIR": str(folder / "compiled"),
        }
        self._streams = streams
        self._compiled = openvino.Core().compile_model(str(folder / NETWORK_FILE), "CPU", settings)
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()  # requests with which nobody waits
        self._warm_up()

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

    def to(self, device: Processor) -> None:
        """Stay on the CPU; raise ValueError if asked elsewhere."""
        if device.type != "cpu":
            raise ValueError(f"OpenVINO computes on the CPU; found device {str(device)!r}. Choose the backend 'torch'.")

    def embed_pixels(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embed RGB tiles [tile, y, x, 3] on the CPU; float32 [tile, feature]."""
        batch = np.ascontiguousarray(tiles)
        parts = max(1, min(computing_threads(), self._streams, len(batch) // LEAST_TILES))
        edges = np.linspace(0, len(batch), parts + 1).astype(int).tolist()
        under_way = [self._begun(batch[first:end]) for first, end in itertools.pairwise(edges)]
        return np.concatenate([self._finished(request) for request in under_way])

    def _warm_up(self) -> None:
        """Let every stream compute once, behind the back of who goes on loading: a stream's first time takes longer."""
        blank = np.zeros((LEAST_TILES, self.tile_px, self.tile_px, 3), np.uint8)
        for request in [self._begun(blank) for _ in range(self._streams)]:
            self._idle.put(request)

    def _begun(self, part: NDArray[np.uint8]) -> Any:  # noqa: ANN401  # OpenVINO's
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._compiled.create_infer_request()
        else:
            request.wait()  # the warming up may not have ended yet
        request.start_async({0: part}, share_inputs=True)
        return request

    def _finished(self, request: Any) -> NDArray[np.float32]:  # noqa: ANN401  # OpenVINO's
        request.wait()
        found = np.array(request.get_output_tensor(0).data, np.float32)
        self._idle.put(request)
        return found

"""From torch to OpenVINO: encoders are converted once, and kept only where the features stay the same."""

import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.openvino_encoder import NETWORK_FILE, PRECISIONS, OpenvinoEncoder, OpenvinoRefused
from napari_mtlpath.encoders.openvino_runtime import openvino_runtime
from napari_mtlpath.encoders.parity import Agreement, agreement, real_tiles
from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief

TRACED_TILES = 2

logger = logging.getLogger(__name__)


def record(module: nn.Module, example: tuple[Tensor, ...], path: Path, *, shapes: Sequence[Sequence[int]]) -> None:
    """Record what a torch module does with an example, and write it to `path` as OpenVINO reads it.

    Parameters
    ----------
    module
        In eval mode; takes and returns tensors.
    example
        Its arguments.
    path
        The file, ending in ``.xml``; a ``.bin`` is written beside it.
    shapes
        Of each argument; -1 where any length is to be taken.

    Raises
    ------
    Exception
        One of `FOREIGN_ERRORS`, if torch cannot record it or OpenVINO does not know an operation.
    """
    openvino = openvino_runtime()
    from openvino.frontend import (
        FrontEndManager,
        GeneralFailure,
        NotImplementedFailure,
        OpConversionFailure,
        OpValidationFailure,
    )
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tracing is deprecated, and warns of shapes that are fixed on purpose
        traced = torch.jit.trace(module, example, check_trace=False)  # type: ignore[no-untyped-call]  # torch's
        # The front end itself and not `openvino.convert_model`, which reports its use over the network.
        front_end = FrontEndManager().load_by_framework("pytorch")
        decoder = TorchScriptPythonDecoder(traced, example_input=example)  # held: the front end does not own it
        try:
            network = front_end.convert(front_end.load(decoder))
        except (GeneralFailure, NotImplementedFailure, OpConversionFailure, OpValidationFailure) as error:
            raise RuntimeError(str(error)) from error
    network.reshape({number: list(shape) for number, shape in enumerate(shapes)})
    openvino.save_model(network, str(path), compress_to_fp16=False)


def convert(encoder: Encoder, folder: Path) -> None:
    """Write an encoder's network to `folder` as OpenVINO reads it.

    Raises
    ------
    OpenvinoRefused
        If torch cannot trace it or OpenVINO does not know one of its operations.
    """
    side = int(encoder.tile_px)
    example = torch.zeros(TRACED_TILES, side, side, 3, dtype=torch.uint8)
    try:
        record(encoder.module, (example,), folder / NETWORK_FILE, shapes=[(-1, side, side, 3)])
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
    tiles = real_tiles(int(encoder.tile_px))
    exact = encoder.embed_pixels(tiles)
    said = ""
    for precision in _offered():
        try:
            made = OpenvinoEncoder(base_digest=encoder.digest, folder=folder, precision=precision, **_facts(encoder))
            found = agreement(exact, made.embed_pixels(tiles))
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
    able = openvino_runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return [precision for precision in PRECISIONS if precision == "float32" or "BF16" in able]


def _facts(encoder: Encoder) -> Mapping[str, Any]:
    return {"name": encoder.name, "features": encoder.features, "tile_px": int(encoder.tile_px)}


def _disagreement(found: Agreement) -> str:
    if math.isnan(found.cosine):
        return "gives features that are not finite or of another shape than torch's"
    return f"does not give torch's features: it agrees to {found} only"

"""An encoder computed by torch, or by OpenVINO from a converted network that is kept in the user's cache folder."""

import importlib.util
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from napari_mtlpath.encoders.backend import Backend
from napari_mtlpath.encoders.cards import ENCODER_FILE, ENCODER_WEIGHTS, EncoderCard
from napari_mtlpath.encoders.network_cache import FACTS_FILE, network_folder, read_facts, write_facts
from napari_mtlpath.encoders.openvino_encoder import OpenvinoEncoder, OpenvinoRefused
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.files import replacing_folder
from napari_mtlpath.hashes import description_sha256, file_sha256
from napari_mtlpath.processors import Processor
from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief

DEPENDS_ON = ("napari-mtlpath", "openvino", "torch", "timm")
"""Packages whose version may change an encoder's features."""

logger = logging.getLogger(__name__)


def encoder_for(
    backend: Backend, *, card: EncoderCard, device: Processor, build: Callable[[], TileEncoder]
) -> TileEncoder:
    """Return an encoder that is computed by a backend.

    The converted network is kept in the user's cache folder. Where it is there already, torch's is not built at all.

    Parameters
    ----------
    backend
        The user's wish.
    card
        The encoder's card.
    device
        Where the model is to run.
    build
        Makes the torch encoder, in eval mode, on the CPU.

    Raises
    ------
    ValueError
        If OpenVINO is asked for and is not installed, cannot run on that device, or does not give torch's features.
    """
    if backend is Backend.TORCH:
        return build()
    installed, on_cpu = importlib.util.find_spec("openvino") is not None, device.type == "cpu"
    if backend is Backend.AUTO:
        if not (installed and on_cpu):
            return build()
    elif not installed:
        raise ValueError("The backend 'openvino' is missing: pip install 'napari-mtlpath[openvino]'.")
    elif not on_cpu:
        raise ValueError(f"OpenVINO computes on the CPU; found device {str(device)!r}. Choose the device 'cpu'.")
    try:
        return _through_openvino(card, build)
    except OpenvinoRefused as error:
        if backend is Backend.OPENVINO:
            raise
        logger.warning("%s This was done for you.", error)
        return build()


def _through_openvino(card: EncoderCard, build: Callable[[], TileEncoder]) -> OpenvinoEncoder:
    source, encoder = _source(card), None
    if source is None:
        encoder = build()
        source = encoder.digest
    folder = network_folder(source)
    made = _kept(folder, source)
    if made is None:
        made = _made(encoder if encoder is not None else build(), folder, source)
    return made


def _source(card: EncoderCard) -> str | None:
    """Return a hash of all that an encoder's features follow from, or None where only building it tells."""
    if card.folder is None:
        return None
    weights = card.folder / ENCODER_WEIGHTS
    description = {
        "card": (card.folder / ENCODER_FILE).read_text(encoding="utf-8"),
        "weights": file_sha256(weights) if weights.is_file() else "",
        "promised": card.sha256,
        "versions": {package: version(package) for package in DEPENDS_ON},
    }
    return description_sha256(description)


def _kept(folder: Path, source: str) -> OpenvinoEncoder | None:
    """Return the encoder that an earlier run has put into a folder; None where there is none that still works."""
    try:
        facts = read_facts(folder, source=source)
        if facts is None:
            return None
        refused = facts.pop("refused", "")
        if not refused:
            return OpenvinoEncoder(folder=folder, **facts)
    except FileNotFoundError:
        return None
    except FOREIGN_ERRORS as error:
        logger.warning("The converted encoder in %s is made anew: %s", folder, brief(error))
        return None
    raise OpenvinoRefused(refused)


def _made(encoder: TileEncoder, folder: Path, source: str) -> OpenvinoEncoder:
    """Convert torch's encoder, which is the only time that torch is imported here."""
    from napari_mtlpath.encoders.conversion import convert, verified
    from napari_mtlpath.encoders.encoder import Encoder

    assert isinstance(encoder, Encoder)  # what torch does not compute needs no converting
    facts: dict[str, object] = {"source": source}
    try:
        with replacing_folder(folder) as temporary:
            (temporary / FACTS_FILE).unlink(missing_ok=True)
            convert(encoder, temporary)
        # Compiled where it stays: OpenVINO finds compiled code by the network's path.
        made = verified(encoder, folder)
    except OpenvinoRefused as error:
        write_facts(folder, facts | {"refused": str(error)})
        raise
    write_facts(folder, facts | made.facts())
    return made

"""An aggregator computed by OpenVINO from a converted network that is kept in the user's cache folder."""

import importlib.util
import logging
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.encoders.network_cache import FACTS_FILE, network_folder, read_facts, write_facts
from napari_mtlpath.encoders.openvino_encoder import OpenvinoRefused
from napari_mtlpath.encoders.tile_encoder import TileEncoder
from napari_mtlpath.files import replacing_folder
from napari_mtlpath.hashes import description_sha256
from napari_mtlpath.slides.foreign_errors import FOREIGN_ERRORS, brief
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.openvino_aggregator import OpenvinoAggregator, RecordedOutputs

if TYPE_CHECKING:
    from napari_mtlpath.nn.aggregator import Aggregator

DEPENDS_ON = ("napari-mtlpath", "openvino", "torch")
"""Packages whose version may change an aggregator's answers."""

GATE = 2
"""Counted up whenever the comparison with torch changes, so that what was refused is judged again."""

logger = logging.getLogger(__name__)


def openvino_aggregator(
    card: ModelCard, *, encoder: TileEncoder, build: "Callable[[], Aggregator]"
) -> OpenvinoAggregator:
    """Return the aggregator of a card through OpenVINO; torch is asked only where no earlier run has converted it.

    Parameters
    ----------
    card
        The model's card, its weights already seen to have the SHA-256 that it promises.
    encoder
        The model's encoder.
    build
        Makes the torch aggregator.

    Raises
    ------
    OpenvinoRefused
        If it cannot be converted or does not give torch's answers, now or when it was first tried.
    """
    if importlib.util.find_spec(f"napari_mtlpath.nn.aggregators.{card.aggregator}") is None:
        raise OpenvinoRefused(f"The aggregator {card.aggregator!r} of another package is computed by torch.")
    source = _source(card, encoder)
    folder = network_folder(source)
    return _kept(folder, source, build) or _made(folder, source, build, encoder)


def _source(card: ModelCard, encoder: TileEncoder) -> str:
    """Return a hash of all that an aggregator's answers follow from."""
    description = {
        "aggregator": card.aggregator,
        "options": dict(card.options),
        "tasks": [[task.name, task.kind, task.outputs] for task in card.tasks],
        "features": encoder.features,
        "encoder": encoder.digest,
        "weights": card.weights_sha256,
        "gate": GATE,
        "versions": {package: version(package) for package in DEPENDS_ON},
    }
    return description_sha256(description)


def _kept(folder: Path, source: str, build: "Callable[[], Aggregator]") -> OpenvinoAggregator | None:
    """Return what an earlier run has put into a folder; None where there is none that still works."""
    try:
        facts = read_facts(folder, source=source)
        if facts is None:
            return None
        refused = facts.get("refused", "")
        if not refused:
            outputs = RecordedOutputs(tasks=facts["tasks"], thresholds=facts["thresholds"])
            return OpenvinoAggregator(folder=folder, outputs=outputs, build=build)
    except FileNotFoundError:
        return None
    except FOREIGN_ERRORS as error:
        logger.warning("The converted aggregator in %s is made anew: %s", folder, brief(error))
        return None
    raise OpenvinoRefused(refused)


def _made(folder: Path, source: str, build: "Callable[[], Aggregator]", encoder: TileEncoder) -> OpenvinoAggregator:
    """Convert torch's aggregator, which is the only time that torch is imported here."""
    from napari_mtlpath.zoo.aggregator_conversion import convert_aggregator, verify_aggregator

    network = build()
    facts: dict[str, object] = {"source": source}
    try:
        with replacing_folder(folder) as temporary:
            (temporary / FACTS_FILE).unlink(missing_ok=True)
            outputs = convert_aggregator(network, temporary)
        made = OpenvinoAggregator(folder=folder, outputs=outputs, build=build)
        verify_aggregator(network, made, encoder=encoder)
    except OpenvinoRefused as error:
        write_facts(folder, facts | {"refused": str(error)})
        raise
    tasks = {name: list(fields) for name, fields in outputs.tasks.items()}
    write_facts(folder, facts | {"tasks": tasks, "thresholds": list(outputs.thresholds)})
    return made

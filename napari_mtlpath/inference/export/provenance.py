"""Where an exported number comes from: slide, model, settings, program and day, said in every file."""

import getpass
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

RESEARCH_USE_ONLY = "Research use only"


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """Says which slide, model and settings gave a result, when, and by which program.

    Attributes
    ----------
    slide, slide_fingerprint
        The file's name and its digest; the digest holds when the file is renamed.
    model, model_digest
        The model's name and the digest of its weights and card.
    parameters_digest
        SHA-256 over everything else that changes the numbers.
    program, created, user
        Name and version, time in UTC (ISO 8601), login name of who ran it.
    """

    slide: str
    slide_fingerprint: str
    model: str
    model_digest: str
    parameters_digest: str
    program: str
    created: str
    user: str

    @property
    def key(self) -> str:
        """What decides whether a result still holds: slide, model and settings."""
        return f"{self.slide_fingerprint}|{self.model_digest}|{self.parameters_digest}"

    @property
    def sentence(self) -> str:
        """One line for files that have room for a description only."""
        return (
            f"{RESEARCH_USE_ONLY}. Slide {self.slide_fingerprint}, model {self.model} ({self.model_digest}), "
            f"settings {self.parameters_digest}, {self.program}, {self.created}."
        )

    def as_dict(self) -> dict[str, str]:
        """Return all fields, with the words that every export carries first."""
        return {"use": RESEARCH_USE_ONLY, **asdict(self)}


def provenance_now(
    *,
    slide: str,
    slide_fingerprint: str,
    model: str,
    model_digest: str,
    parameters: Mapping[str, Any],
    backend: str = "torch",
) -> Provenance:
    """Return the provenance of a result made at this moment by this program, its encoder computed by `backend`.

    Examples
    --------
    >>> facts = {"slide": "a.svs", "slide_fingerprint": "1", "model": "m", "model_digest": "2", "parameters": {}}
    >>> provenance_now(**facts, backend="OpenVINO (bfloat16)").program.endswith(", encoder through OpenVINO (bfloat16)")
    True
    """
    through = "" if backend == "torch" else f", encoder through {backend}"
    return Provenance(
        slide=slide,
        slide_fingerprint=slide_fingerprint,
        model=model,
        model_digest=model_digest,
        parameters_digest=parameters_digest(parameters),
        program=f"napari-mtlpath {version('napari-mtlpath')}{through}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        user=_user(),
    )


def parameters_digest(parameters: Mapping[str, Any]) -> str:
    """Return a short SHA-256 digest of settings, the same for the same settings in any order.

    Examples
    --------
    >>> parameters_digest({"a": 1, "b": 2}) == parameters_digest({"b": 2, "a": 1})
    True
    """
    text = json.dumps(dict(parameters), sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in this container, or no way to ask
        return ""

"""Which patients a model was calibrated on: remembered beside the model, so that judging them again is said."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from napari_mtlpath.files import replacing
from napari_mtlpath.folders import patients_folder

if TYPE_CHECKING:
    from napari_mtlpath.zoo.card import ModelCard

PATIENTS_KEY = "patients_sha256"
CALIBRATED_FILE = "calibrated.json"


def patients_digest(patients: Iterable[str]) -> str:
    """Return one SHA-256 over all patients together: it tells whether two lists are the same, and no name."""
    return hashlib.sha256("\n".join(sorted(set(patients))).encode()).hexdigest()


def remember_calibration(model: Path, tasks: Iterable[str], patients: Iterable[str]) -> None:
    """Write beside a model's folder on whom tasks of it were calibrated; the model's folder learns no name."""
    known = _remembered(model) | dict.fromkeys(tasks, sorted(set(patients)))
    path = patients_folder(model) / CALIBRATED_FILE
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def seen_in_calibration(card: "ModelCard", patients: Iterable[str]) -> list[str]:
    """Return a sentence per task that was calibrated on all or some of the patients that are judged now.

    Where nothing beside the model says on whom it was calibrated, only the same patients as a whole are recognised.
    """
    judged = set(patients)
    digest = patients_digest(judged)
    remembered = _remembered(card.folder) if card.folder is not None else {}
    said = []
    for task, values in card.calibration.items():
        fitted_on = values.get(PATIENTS_KEY)
        known = remembered.get(task, [])
        if fitted_on == digest:
            both = judged
        elif fitted_on == patients_digest(known):
            both = judged.intersection(known)
        else:
            continue  # nobody remembers on whom
        if both:
            how_many = "All" if both == judged else f"{len(both)} of {len(judged)}"
            said.append(
                f"{how_many} of these patients are among those that {task} was calibrated on: thresholds, calibration "
                "error and sets look better than they are."
            )
    return said


def _remembered(model: Path) -> dict[str, list[str]]:
    path = patients_folder(model) / CALIBRATED_FILE
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no JSON: {error}. Delete it, and calibrate again.") from error
    return {str(task): [str(name) for name in names] for task, names in content.items()}

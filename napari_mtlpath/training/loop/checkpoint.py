"""Checkpoints: everything a training needs to go on bit by bit as if it had never stopped."""

import pickle
import zipfile
import zlib
from pathlib import Path
from typing import Any

import torch

from napari_mtlpath.files import replacing

CHECKPOINT_FILE = "checkpoint.pt"
FORMAT = 2
"""Of what the training loop writes: 1 held whole epochs only."""


def save_checkpoint(folder: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint of tensors and plain values; a killed program leaves the previous one.

    Raises
    ------
    OSError
        If it cannot be written (disk full, quota, read-only); the previous one is as it was.
    """
    path = folder / CHECKPOINT_FILE
    try:
        with replacing(path) as temporary, temporary.open("wb") as stream:
            torch.save({"format": FORMAT} | content, stream)
    except (OSError, RuntimeError) as error:  # torch hides what the stream said in a RuntimeError
        kept = "The one before is kept" if path.is_file() else "There is none yet"
        raise OSError(
            f"The checkpoint in {folder} could not be written: {_cause(error)}. {kept}. Free some space or check the "
            "folder's permissions; the next one is tried in due course."
        ) from error


def load_checkpoint(folder: Path, *, key: str) -> dict[str, Any] | None:
    """Return the checkpoint in `folder`, or None where there is none.

    Raises
    ------
    ValueError
        If it is damaged, of another version, or belongs to another config (`key` differs).
    """
    path = folder / CHECKPOINT_FILE
    if not path.is_file():
        return None
    content = _read(path)
    if content.get("format") != FORMAT:
        raise ValueError(
            f"The checkpoint {path} was made by another version: expected format {FORMAT}, found "
            f"{content.get('format', 'none')}. Delete it, or start without resuming."
        )
    if content["key"] != key:
        raise ValueError(
            f"The checkpoint in {folder} was made with another config or other data. "
            "Delete it, choose another folder, or start without resuming."
        )
    return content


def remove_checkpoint(folder: Path) -> None:
    """Remove the checkpoint of a finished training, where there is one."""
    (folder / CHECKPOINT_FILE).unlink(missing_ok=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            wrong = archive.testzip()  # torch itself reads flipped bits without a word
        if wrong is not None:
            raise zipfile.BadZipFile(f"{wrong} differs from its checksum")
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, RuntimeError, EOFError, KeyError) as error:
        raise ValueError(
            f"The checkpoint {path} is damaged ({_cause(error)}). Delete it, or start without resuming."
        ) from error
    return content


def _cause(error: BaseException) -> str:
    cause = error.__cause__ or error.__context__ if isinstance(error, RuntimeError) else error
    return str(cause or error).splitlines()[0].rstrip(".")

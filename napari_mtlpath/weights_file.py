"""Files of weights that are refused before anything in them is read."""

from pathlib import Path

PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle", ".joblib"})
PICKLE_STARTS = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class WeightsError(ValueError):
    """A file of weights is refused; the message says what was expected, found and what to do."""


def check_no_pickle(path: Path) -> None:
    """Raise WeightsError if `path` is a pickle by its suffix or its first bytes; nothing of it is run."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no weights file {path.name!r} in {path.parent}.")
    with path.open("rb") as file:
        start = file.read(4)
    if path.suffix.lower() in PICKLE_SUFFIXES or start.startswith(PICKLE_STARTS):
        raise WeightsError(
            f"The weights {path.name!r} are a pickle, which can run code, so they are refused. "
            "Ask for, or convert them to, safetensors (safetensors.torch.save_file)."
        )


def check_promise(path: Path, *, expected: str, found: str) -> None:
    """Raise WeightsError unless a file's SHA-256 is the one that its card promises."""
    if found != expected:
        raise WeightsError(
            f"The weights {path.name!r} are damaged or were changed: expected SHA-256 {expected[:12]}…, "
            f"found {found[:12]}…. Get the model again from where it came."
        )


def refuse_pickles(folder: Path) -> None:
    """Raise WeightsError if a folder brings a pickle instead of safetensors, with one sentence; it is never opened."""
    if not any(folder.glob("*.safetensors")):
        for path in sorted(folder.iterdir()):
            if path.is_file() and path.suffix.lower() not in (".toml", ".md", ".txt", ".json", ".png"):
                check_no_pickle(path)

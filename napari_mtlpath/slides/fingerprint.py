"""A slide's identity: a digest of its content that a new name or folder does not change."""

import hashlib
from pathlib import Path

from napari_mtlpath.slides.shared_file import SharedFile

EDGE_BYTES = 65536
"""Bytes hashed at the beginning and at the end of the file."""

SAMPLES = 32
"""Number of blocks hashed in between, evenly spread."""

SAMPLE_BYTES = 4096


def fingerprint(path: Path) -> str:
    """Return 32 hexadecimal digits made of the file's size, head, tail and sampled blocks (SHA-256).

    A damaged byte between the samples is not noticed: the digest tells slides apart, it does not prove integrity.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.svs"
    >>> _ = path.write_bytes(b"slide")
    >>> fingerprint(path) == fingerprint(path.rename(path.with_name("b.svs")))
    True
    """
    file = SharedFile(path)
    try:
        return fingerprint_of(file)
    finally:
        file.close()


def fingerprint_of(file: SharedFile) -> str:
    """Return the fingerprint of an open file."""
    digest = hashlib.sha256(f"{file.size}|".encode())
    digest.update(edges(file))
    if file.size > 2 * EDGE_BYTES:
        step = (file.size - 2 * EDGE_BYTES) // (SAMPLES + 1)
        for sample in range(1, SAMPLES + 1):
            digest.update(file.read_at(EDGE_BYTES + sample * step, SAMPLE_BYTES))
    return digest.hexdigest()[:32]


def edges(file: SharedFile) -> bytes:
    """Return the file's first and last bytes."""
    tail = max(0, file.size - EDGE_BYTES)
    return file.read_at(0, EDGE_BYTES) + file.read_at(tail, EDGE_BYTES)

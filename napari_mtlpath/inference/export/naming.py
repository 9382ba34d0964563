"""File names from names that people gave: a slide or task may be called anything, a file may not."""

import hashlib
import re

LONGEST = 80  # characters; leaves room for suffixes below the 143 bytes of the strictest usual file system

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)  # on Windows, with any suffix


def safe_name(text: str) -> str:
    """Return a name that is a plain file name on every system and differs for different texts.

    A text that already is one stays as it is; any other becomes its letters and digits with a short hash.

    Examples
    --------
    >>> safe_name("CMU-1-Small-Region")
    'CMU-1-Small-Region'
    >>> safe_name("../../etc/passwd")
    'etc-passwd-3754d6cb'
    """
    plain = _PLAIN.fullmatch(text) and not _RESERVED.fullmatch(text) and not text.endswith(".") and len(text) <= LONGEST
    if plain:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    slug = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[: LONGEST - 9].strip("-")
    return f"{slug or 'unnamed'}-{digest}"

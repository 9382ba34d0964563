"""What slide libraries raise on damaged files: nearly anything, so it is listed once and translated at the border."""

import struct

FOREIGN_ERRORS: tuple[type[Exception], ...] = (
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    AssertionError,
    RuntimeError,  # imagecodecs' codec errors, NotImplementedError, RecursionError
    OSError,
    EOFError,
    MemoryError,
    SyntaxError,  # xml.etree's ParseError
    ImportError,  # a codec that is not built in
    BufferError,
    struct.error,
)
"""Exceptions seen from tifffile, tiffslide, zarr, imagecodecs, simplejpeg and openslide on malformed input."""


def brief(error: BaseException) -> str:
    """Return an error's text as one short line.

    Examples
    --------
    >>> brief(ValueError("bad   file"))
    'bad file'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:157] + "..."

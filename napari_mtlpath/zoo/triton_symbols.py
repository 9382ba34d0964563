"""Keeps PyTorch's compiler from crashing a process that draws with Mesa.

Mesa's drivers (software rendering, AMD) bring an LLVM library of their own into the process. Triton, which PyTorch
imports the first time it thinks of its compiler, brings another one whose functions have the same names; bound to
Mesa's, its import ends in a segmentation fault. Loaded with its own functions first, both live together.
"""

import contextlib
import importlib
import importlib.util
import os
import sys
import threading
from pathlib import Path

MAPS = Path("/proc/self/maps")
FOREIGN_LLVM = ("libLLVM", "libgallium")

_lock = threading.Lock()


def load_triton_with_its_own_symbols() -> bool:
    """Load Triton's compiled part bound to itself, where another LLVM is in the process; return whether it was done.

    Does nothing without Triton, without such a library, on other systems than Linux, or when Triton is there already.
    """
    with _lock:
        if "triton" in sys.modules or not hasattr(os, "RTLD_DEEPBIND") or not _foreign_llvm():
            return False
        if importlib.util.find_spec("triton") is None:
            return False
        before = sys.getdlopenflags()
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
        try:
            with contextlib.suppress(ImportError):  # A broken Triton is PyTorch's to report.
                importlib.import_module("triton._C.libtriton")
        finally:
            sys.setdlopenflags(before)
        return True


def _foreign_llvm() -> bool:
    try:
        maps = MAPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(name in maps for name in FOREIGN_LLVM)

"""Keeps torch's compiler and the graphics driver apart: both bring an LLVM, and the second one would call the first's.

On Linux, Mesa's drivers put the system's LLVM among the symbols that all libraries see. Triton, which torch imports,
carries another version; loaded after the first window was drawn, it would be bound to the wrong one and crash.
"""

import os
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ExtensionFileLoader, ModuleSpec, PathFinder
from types import ModuleType

COMPILER = "triton._C.libtriton"


def keep_compilers_apart() -> None:
    """Have triton's library bound to its own symbols whenever it is loaded from now on. Loads nothing; idempotent."""
    if hasattr(os, "RTLD_DEEPBIND") and not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Loader(ExtensionFileLoader):
    def create_module(self, spec: ModuleSpec) -> ModuleType:
        before = sys.getdlopenflags()
        sys.setdlopenflags(os.RTLD_NOW | os.RTLD_DEEPBIND)
        try:
            return super().create_module(spec)
        finally:
            sys.setdlopenflags(before)


class _Finder(MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != COMPILER:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(fullname, spec.origin)
        return spec

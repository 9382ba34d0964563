"""OpenVINO as it computes: without its converter, which nobody here needs and which reports every import."""

import importlib
import sys
import threading
from types import ModuleType

CONVERTER = "openvino.tools.ovc"
CONVERT = "convert_model"
"""The one name that OpenVINO takes from it."""

_importing = threading.Lock()


def openvino_runtime() -> ModuleType:
    """Import OpenVINO at the first call, and return it.

    ``import openvino`` brings its converter with it: two thirds of the import's time, 15 MB, and an event that
    openvino-telemetry sends over the network unless the user has forbidden it. OpenVINO goes on where the converter is
    not to be had. Other programs in this process find it all the same, when they ask for it.

    Raises
    ------
    ImportError
        If OpenVINO is not installed.
    """
    with _importing:
        if "openvino" not in sys.modules and CONVERTER not in sys.modules:
            sys.modules[CONVERTER] = None  # type: ignore[assignment]  # Python's word for a module not to be had
            try:
                vars(importlib.import_module("openvino"))["__getattr__"] = _asked_later
            finally:
                del sys.modules[CONVERTER]
    return importlib.import_module("openvino")


def _asked_later(name: str) -> object:
    """Find what OpenVINO's module lacks so far."""
    if name != CONVERT:
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")
    return getattr(importlib.import_module(CONVERTER), CONVERT)

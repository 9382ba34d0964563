"""What works on this machine: one small check per part, each with what was found and what to do."""

import importlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from napari_mtlpath.cli.display import has_display, under_xvfb
from napari_mtlpath.encoders.openvino_runtime import openvino_runtime

GRAPHICS_SECONDS = 60.0  # a cold start of Qt on a slow disk takes some seconds; a hung driver never answers


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What one check found.

    Attributes
    ----------
    part
        What was looked at.
    works
        Whether it works here.
    found
        What is there, in words.
    advice
        What to install or do; empty where nothing is to be done.
    needed
        Whether the program cannot do its work without it.
    """

    part: str
    works: bool
    found: str
    advice: str = ""
    needed: bool = True


def findings() -> Iterator[Finding]:
    """Check one part after the other."""
    yield _program()
    yield _torch()
    yield from _packages()
    yield _qt()
    yield _display()
    yield _graphics()
    yield from _readers()
    yield from _optional()
    yield from _models()
    yield _data()
    yield from _folders()


def _program() -> Finding:
    found = f"napari-mtlpath {version('napari-mtlpath')}, Python {platform.python_version()}, {platform.platform()}"
    return Finding(part="program", works=sys.version_info >= (3, 11), found=found)


def _torch() -> Finding:
    try:
        import torch

        from napari_mtlpath.zoo.device import pick_device
    except (ImportError, OSError) as error:
        return Finding(part="torch", works=False, found=str(error), advice="pip install 'torch>=2.10' torchvision")
    place = pick_device()
    advice = ""
    if place.device.type == "cpu" and shutil.which("nvidia-smi") is not None:
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        advice = f"There is an NVIDIA driver, but this torch ({built}) cannot use it: update one of the two."
    found = f"{torch.__version__} on {place.device} ({place.reason}), {torch.get_num_threads()} threads"
    return Finding(part="torch", works=True, found=found, advice=advice)


def _packages() -> Iterator[Finding]:
    for name, module in {
        "napari": "napari", "torchvision": "torchvision", "timm": "timm", "tiffslide": "tiffslide",
        "imagecodecs": "imagecodecs", "simplejpeg": "simplejpeg",
    }.items():  # fmt: skip
        try:
            if name != "napari":  # importing napari takes seconds; that it can be found is enough here
                importlib.import_module(module)
            yield Finding(part=name, works=True, found=version(name))
        except (ImportError, OSError, RuntimeError, PackageNotFoundError) as error:
            yield Finding(part=name, works=False, found=str(error), advice=f"pip install --upgrade {name}")


def _qt() -> Finding:
    for binding in ("PySide6", "PyQt6"):
        if importlib.util.find_spec(binding) is not None:
            return Finding(part="Qt binding", works=True, found=f"{binding} {_version(binding)}")
    advice = "pip install 'napari-mtlpath[all]', or PyQt6 or PySide6 by itself"
    return Finding(part="Qt binding", works=False, found="none", advice=advice)


def _display() -> Finding:
    if sys.platform != "linux":
        return Finding(part="display", works=True, found=f"the one of {platform.system()}")
    if has_display():
        return Finding(part="display", works=True, found=os.environ.get("DISPLAY") or os.environ["WAYLAND_DISPLAY"])
    if shutil.which("xvfb-run"):
        return Finding(part="display", works=True, found="none, but Xvfb is there for a virtual one")
    advice = "Set DISPLAY, or install a virtual display: apt-get install xvfb xauth"
    return Finding(part="display", works=False, found="none", advice=advice)


def _graphics() -> Finding:
    command = with_display([sys.executable, "-m", "napari_mtlpath.viewer.graphics"])
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=GRAPHICS_SECONDS, check=False)
        facts = json.loads(asked.stdout.strip().splitlines()[-1]) if asked.returncode == 0 else None
    except (subprocess.TimeoutExpired, OSError, ValueError, IndexError):
        facts = None
    if facts is None:
        advice = "Install a graphics driver, or on Debian: apt-get install libegl1 libgl1 libglx-mesa0 libxcb-cursor0"
        return Finding(part="OpenGL", works=False, found="no context could be made", advice=advice)
    software = "llvmpipe" in facts["renderer"] or "softpipe" in facts["renderer"]
    advice = "Drawing is done in software: slower, but right." if software else ""
    return Finding(part="OpenGL", works=True, found=f"{facts['version']}, {facts['renderer']}", advice=advice)


def with_display(command: list[str]) -> list[str]:
    """Return the command, run under a virtual display where there is none and Xvfb is installed."""
    if has_display() or shutil.which("xvfb-run") is None:
        return command
    return under_xvfb(command)


def _readers() -> Iterator[Finding]:
    from napari_mtlpath.slides.open import READERS

    libraries = {"openslide": "openslide", "tiffslide": "tiffslide"}
    for name in READERS.names():
        library = libraries.get(name)
        try:
            suffixes = ", ".join(READERS.load(name).suffixes)
            if library is not None:
                importlib.import_module(library)
            yield Finding(part=f"reader {name}", works=True, found=suffixes or "no suffix of its own", needed=False)
        except (ImportError, OSError) as error:
            advice = f"pip install 'napari-mtlpath[{name}]'"
            yield Finding(part=f"reader {name}", works=False, found=str(error), advice=advice, needed=False)


def _optional() -> Iterator[Finding]:
    yield _openvino()
    for extra, (module, purpose) in {"transformers": ("transformers", "encoders of the transformers family")}.items():
        works = importlib.util.find_spec(module) is not None
        found = f"{extra} {_version(extra)}" if works else f"not installed ({purpose})"
        advice = "" if works else f"pip install 'napari-mtlpath[{extra}]'"
        yield Finding(part=f"optional {extra}", works=works, found=found, advice=advice, needed=False)


def _openvino() -> Finding:
    part, purpose = "optional openvino", "encoders about twice as fast on CPUs: predict --backend openvino"
    if importlib.util.find_spec("openvino") is None:
        advice = "pip install 'napari-mtlpath[openvino]'"
        return Finding(part=part, works=False, found=f"not installed ({purpose})", advice=advice, needed=False)
    try:
        able = openvino_runtime().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except (ImportError, OSError, RuntimeError) as error:
        advice = "pip install --upgrade openvino"
        return Finding(part=part, works=False, found=str(error), advice=advice, needed=False)
    arithmetic = "bfloat16 and float32" if "BF16" in able else "float32"
    return Finding(part=part, works=True, found=f"openvino {_version('openvino')}, {arithmetic}", needed=False)


def _models() -> Iterator[Finding]:
    from napari_mtlpath.zoo.any_model import list_any
    from napari_mtlpath.zoo.load import broken_models
    from napari_mtlpath.zoo.pixel_load import broken_pixel_models

    names = [card.name for card in list_any()]
    folders = "slide-models/ or pixel-models/ in MTLPATH_MODELS"
    advice = "" if names else f"Train one with `mtlpath train`, or put a model folder below {folders}."
    yield Finding(part="models", works=bool(names), found=", ".join(names) or "none", advice=advice, needed=False)
    for entry in (*broken_models(), *broken_pixel_models()):
        yield Finding(
            part=f"model {entry.name}", works=False, found=entry.reason, advice="Fetch it again.", needed=False
        )


def _data() -> Finding:
    from napari_mtlpath.samples import find_data

    folder = find_data()
    if folder is not None:
        return Finding(part="sample data", works=True, found=str(folder), needed=False)
    found = "none: the sample slide is the small bundled one"
    return Finding(
        part="sample data", works=True, found=found, advice="Set MTLPATH_DATA to a folder of slides.", needed=False
    )


def _folders() -> Iterator[Finding]:
    from napari_mtlpath.folders import cache_folder, data_folder

    for part, folder in {"cache": cache_folder(), "own data": data_folder()}.items():
        free = shutil.disk_usage(folder).free / 2**30
        works = os.access(folder, os.W_OK)
        advice = "" if works else f"Give yourself write access to {folder}, or set MTLPATH_HOME to another folder."
        found = f"{folder}: {_size(folder) / 2**20:.1f} MiB used, {free:.1f} GiB free"
        yield Finding(part=part, works=works, found=found, advice=advice)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "of unknown version"

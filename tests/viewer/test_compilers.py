"""torch can be imported after a window was drawn, whatever the graphics driver."""

import importlib.util
import subprocess
import sys

import pytest

from napari_mtlpath.cli.display import has_display

CODE = """
from napari_mtlpath.viewer.compilers import keep_compilers_apart
from napari_mtlpath.viewer.graphics import opengl_facts

keep_compilers_apart()
keep_compilers_apart()
opengl_facts()
import triton
from triton._C import libtriton

libtriton.ir.load_dialects(libtriton.ir.context())
opengl_facts()
print("both work", flush=True)
import os

os._exit(0)
"""


@pytest.mark.gui
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch brings no triton here")
@pytest.mark.skipif(not has_display(), reason="no display: run under xvfb-run")
def test_triton_loads_beside_a_graphics_driver_that_brings_llvm() -> None:
    ran = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=280, check=False)
    assert "both work" in ran.stdout, f"{ran.returncode}\n{ran.stderr}"

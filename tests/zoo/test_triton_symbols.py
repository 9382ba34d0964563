"""PyTorch's compiler and Mesa's drivers live in one process."""

import importlib.util
import os
import subprocess
import sys

import pytest

PROGRAM = """
import numpy, napari
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer()
viewer.add_image(numpy.zeros((8, 8)))
viewer.screenshot(canvas_only=True)
from napari_mtlpath.zoo.triton_symbols import load_triton_with_its_own_symbols
load_triton_with_its_own_symbols()
import torch._dynamo, triton
viewer.screenshot(canvas_only=True)
viewer.close()
QApplication.processEvents()
print("alive")
"""


@pytest.mark.gui
@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
@pytest.mark.skipif(not os.environ.get("DISPLAY"), reason="needs a display or Xvfb")
def test_torchs_compiler_can_be_imported_after_something_was_drawn():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout.strip().endswith("alive"), done.stderr[-2000:]


def test_nothing_is_loaded_where_no_other_llvm_is():
    program = (
        "import sys; from napari_mtlpath.zoo.triton_symbols import load_triton_with_its_own_symbols as load; "
        "print(load(), 'triton' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == ["False", "False"]

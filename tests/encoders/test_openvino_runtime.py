"""OpenVINO is imported without its converter, which would report each import over the network."""

import subprocess
import sys

import pytest

pytest.importorskip("openvino")

FIRST = """
import sys
from napari_mtlpath.encoders.openvino_runtime import openvino_runtime
openvino = openvino_runtime()
assert openvino is openvino_runtime()
assert "CPU" in openvino.Core().available_devices
for module in ("openvino.tools.ovc", "openvino_telemetry"):
    assert module not in sys.modules, module
"""
OTHERS = """
from openvino import convert_model
from openvino.tools.ovc import convert_model as direct
assert convert_model is direct
try:
    openvino.no_such_name
except AttributeError as error:
    assert "no attribute 'no_such_name'" in str(error)
else:
    raise AssertionError("found a name that does not exist")
"""
AFTER = """
import openvino
from napari_mtlpath.encoders.openvino_runtime import openvino_runtime
assert openvino_runtime() is openvino
assert "__getattr__" not in vars(openvino)
"""


@pytest.mark.parametrize(
    "program", [FIRST, FIRST + OTHERS, AFTER], ids=["alone", "others after us", "others before us"]
)
def test_the_converter_is_there_only_for_those_who_ask(program: str) -> None:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

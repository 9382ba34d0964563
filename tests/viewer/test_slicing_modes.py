"""Never black, in both of napari's slicing modes, and napari's settings as they were."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.gui, pytest.mark.timeout(600)]


@pytest.fixture
def fast_pan(tmp_path):
    def run(mode: str) -> dict:
        settings = tmp_path / "settings.yaml"
        environment = {**os.environ, "NAPARI_ASYNC": mode, "NAPARI_CONFIG": str(settings)}
        script = Path(__file__).with_name("fast_pan.py")
        done = subprocess.run(
            [sys.executable, str(script)],
            env=environment,
            cwd=script.parent,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        assert not settings.exists() or "async" not in settings.read_text(encoding="utf-8")
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_nothing_is_black_in_naparis_default_mode(fast_pan):
    seen = fast_pan("0")
    assert not seen["asynchronous"]
    assert seen["black_worst"] == 0.0
    assert seen["names"] == ["fake.svs"]
    assert seen["wrong_at_the_end"] < 0.05
    assert seen["left"] == []


def test_nothing_is_black_when_the_user_slices_asynchronously(fast_pan):
    seen = fast_pan("1")
    assert seen["asynchronous"]
    assert seen["black_worst"] == 0.0
    assert seen["names"] == ["fake.svs (coarse)", "fake.svs"]
    assert seen["wrong_at_the_end"] < 0.05
    assert seen["left"] == []

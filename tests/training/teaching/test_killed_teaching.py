"""A teaching whose process is killed goes on from its last whole checkpoint, to the same bits."""

import os
import subprocess
import sys
from pathlib import Path

from taught_world import lesson_of, quick, same_bits, saved_model, taught_reports, weights_of

from napari_mtlpath.training.loop.checkpoint import CHECKPOINT_FILE
from napari_mtlpath.training.teaching.report import TeachPhase

TESTS = Path(__file__).parents[2]
STEPS = 6

TEACH_AND_DIE = f"""
import os, signal, sys
from pathlib import Path
from taught_world import lesson_of, quick
from napari_mtlpath.training.teaching.teach import teach
from napari_mtlpath.zoo.load import load_model
folder = Path(sys.argv[1])
model = load_model(folder / "parent", device="cpu")
for report in teach(model, lesson_of(), quick(steps={STEPS}), folder=folder / "run"):
    if report.step >= 3:
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_killed_teaching_goes_on_from_its_last_whole_checkpoint(tmp_path: Path):
    parent = saved_model(tmp_path)
    child = subprocess.run(
        [sys.executable, "-c", TEACH_AND_DIE, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert child.returncode == -9, child.stderr.decode()
    assert (tmp_path / "run" / CHECKPOINT_FILE).is_file()
    config = quick(steps=STEPS)
    resumed = taught_reports(parent, lesson_of(), tmp_path / "run", config=config)
    assert min(report.step for report in resumed if report.phase in (TeachPhase.STEP, TeachPhase.REFRESH)) >= 2
    whole = taught_reports(parent, lesson_of(), tmp_path / "whole", config=config)
    assert same_bits(weights_of(resumed[-1].model), weights_of(whole[-1].model))
    assert resumed[-1].guard.identical

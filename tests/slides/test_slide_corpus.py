"""Every file of a corpus of malformed images opens or is refused with a SlideError, in bounded time and memory."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("corpus_child.py")


@pytest.mark.slow
def test_the_malformed_corpus_opens_or_is_refused(real_data: Path, tmp_path: Path) -> None:
    archive = real_data / "malformed" / "corpus.zip"
    if not archive.is_file():
        pytest.skip(f"No malformed corpus: looked for {archive}")
    with zipfile.ZipFile(archive) as corpus:
        corpus.extractall(tmp_path)
    files = sum(path.is_file() for path in tmp_path.rglob("*"))
    run = subprocess.run(
        [sys.executable, str(CHILD), str(tmp_path)], capture_output=True, text=True, timeout=280, check=False
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    lines = [line.split("\t") for line in run.stdout.splitlines()]
    assert len(lines) == files >= 200
    assert [line for line in lines if line[0] not in ("opened", "refused")] == []
    assert [line for line in lines if float(line[1]) > 15.0] == []
    assert sum(line[0] == "opened" for line in lines) >= 30

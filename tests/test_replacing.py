import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from napari_mtlpath.files import replacing_folder


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_new_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    with replacing_folder(tmp_path / "model") as temporary:
        (temporary / "a").write_text("1", encoding="utf-8")
        assert not (tmp_path / "model").exists()
        (temporary / "b").write_text("2", encoding="utf-8")
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["a", "b"]


def test_what_is_not_touched_stays(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept").write_text("old", encoding="utf-8")
    with replacing_folder(tmp_path / "model") as temporary:
        (temporary / "new").write_text("new", encoding="utf-8")
    assert names(tmp_path / "model") == ["kept", "new"]
    assert names(tmp_path) == ["model"]


def test_an_error_leaves_the_old_folder_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept").write_text("old", encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        write_half(tmp_path / "model")
    assert (tmp_path / "model" / "kept").read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["model"]


def write_half(folder: Path) -> None:
    with replacing_folder(folder) as temporary:
        (temporary / "kept").write_text("half", encoding="utf-8")
        (temporary / "absent").read_text(encoding="utf-8")


KILLED = """
import os, signal, sys
from pathlib import Path
from napari_mtlpath.files import replacing_folder
with replacing_folder(Path(sys.argv[1])) as temporary:
    (temporary / "kept").write_text("half", encoding="utf-8")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is of POSIX systems")
def test_a_killed_program_leaves_the_old_folder(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "kept").write_text("old", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "model")], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "model" / "kept").read_text(encoding="utf-8") == "old"
    with replacing_folder(tmp_path / "model") as temporary:
        (temporary / "kept").write_text("new", encoding="utf-8")
    assert (tmp_path / "model" / "kept").read_text(encoding="utf-8") == "new"

"""The commands as a shell calls them: exit status, one clear line, JSON for programs."""

import json
import os
import stat
from pathlib import Path

import numpy as np
import pytest
import tifffile
from typer.testing import CliRunner

from napari_mtlpath.cli.display import has_display
from napari_mtlpath.cli.main import app

COMMANDS = ("demo", "view", "info", "models", "predict", "train", "add-task", "doctor")


def run(*words: str | Path):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def small_tiff(tmp_path: Path) -> Path:
    """A tiled TIFF of 300 x 200 pixels that does not say how large its pixels are."""
    path = tmp_path / "small.tiff"
    pixels = np.random.default_rng(0).integers(0, 255, (300, 200, 3), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(128, 128), compression="zlib", metadata=None)
    return path


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "Usage:" in result.output


def test_version_says_research_use_only() -> None:
    result = run("--version")
    assert result.exit_code == 0
    assert "Research use only" in result.output


def test_info_tells_size_levels_and_source_of_resolution(cmu_svs: Path) -> None:
    result = run("info", cmu_svs, "--json")
    assert result.exit_code == 0
    facts = json.loads(result.output)
    assert (facts["width"], facts["height"]) == (2220, 2967)
    assert facts["mpp_x"] == pytest.approx(0.499)
    assert facts["mpp_source"] == "file"
    assert facts["levels"][0]["stored"]
    assert set(facts["associated"]) == {"thumbnail", "label", "macro"}


def test_info_shows_no_date_user_or_file_name_tag(cmu_svs: Path) -> None:
    facts = json.loads(run("info", cmu_svs, "--json").output)
    keys = " ".join(facts["properties"]).lower()
    assert not [word for word in ("date", "time", "user", "title", "filename", "imageid", "barcode") if word in keys]


def test_info_of_a_slide_without_resolution_says_so_and_takes_one(small_tiff: Path) -> None:
    unknown = json.loads(run("info", small_tiff, "--json").output)
    assert unknown["mpp_x"] is None
    assert unknown["mpp_source"] == "unknown"
    given = json.loads(run("info", small_tiff, "--mpp", "0.5", "--json").output)
    assert (given["mpp_x"], given["mpp_source"]) == (0.5, "user")


def _broken_files(folder: Path) -> list[Path]:
    (folder / "folder.svs").mkdir()
    os.mkfifo(folder / "pipe.svs")
    (folder / "dangling.svs").symlink_to(folder / "nowhere")
    (folder / "page.svs").write_text("<html></html>")
    (folder / "zeros.svs").write_bytes(bytes(4096))
    (folder / "empty.svs").touch()
    names = ("missing.svs", "folder.svs", "pipe.svs", "dangling.svs", "page.svs", "zeros.svs", "empty.svs")
    return [*(folder / name for name in names), Path("/dev/zero")]


@pytest.mark.skipif(os.name == "nt", reason="no named pipes")
def test_info_on_what_is_no_slide_is_one_line_and_no_traceback(tmp_path: Path) -> None:
    for path in _broken_files(tmp_path):
        result = run("info", path)
        assert result.exit_code == 1, path
        lines = result.stderr.strip().splitlines()
        assert len(lines) == 1, lines
        assert lines[0].startswith("Error: ")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may read everything")
def test_info_without_permission_is_one_line(small_tiff: Path) -> None:
    small_tiff.chmod(stat.S_IWUSR)
    result = run("info", small_tiff)
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_debug_shows_where_an_error_comes_from(tmp_path: Path) -> None:
    result = run("--debug", "info", tmp_path / "missing.svs")
    assert isinstance(result.exception, FileNotFoundError)


def test_a_mistyped_command_is_answered_with_the_nearest() -> None:
    result = run("inf", "x.svs")
    assert result.exit_code == 2
    assert "'info'" in result.stderr


def test_models_lists_encoders_with_their_licence() -> None:
    listed = json.loads(run("models", "--json").output)
    encoders = {card["name"]: card for card in listed["tile_encoders"]}
    assert encoders["colour-stats"]["licence"]
    assert "folder" not in encoders["colour-stats"]
    assert "colour-stats" in run("models").output


def test_models_names_a_broken_one_and_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "slide-models" / "half"
    folder.mkdir(parents=True)
    (folder / "model.toml").write_text("format = 1\n", encoding="utf-8")
    monkeypatch.setenv("MTLPATH_MODELS", str(tmp_path))
    (broken,) = json.loads(run("models", "--json").output)["broken"]
    assert broken["name"] == "half"
    assert "architecture" in broken["reason"]


@pytest.mark.gui
def test_doctor_finds_everything_that_is_needed() -> None:
    result = run("doctor", "--json")
    said = json.loads(result.stdout)
    broken = [finding for finding in said["findings"] if finding["needed"] and not finding["works"]]
    assert broken == []
    assert result.exit_code == 0
    parts = {finding["part"]: finding for finding in said["findings"]}
    assert parts["torch"]["found"]
    assert ".svs" in parts["reader tiffslide"]["found"]
    assert {"smear-mecds", "cells-ctan"} <= set(parts["models"]["found"].split(", "))


def test_train_refuses_a_config_that_is_not_there(tmp_path: Path) -> None:
    result = run("train", tmp_path / "none.toml")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_train_names_the_key_that_is_wrong(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('kind = "tiles"\nname = "x"\nepochz = 3\n', encoding="utf-8")
    result = run("train", config)
    assert result.exit_code == 1
    assert "epochz" in result.stderr


@pytest.mark.parametrize("change", ["epochs", "=3", "name.a=3"])
def test_train_refuses_a_change_that_makes_no_sense(tmp_path: Path, change: str) -> None:
    config = tmp_path / "config.toml"
    config.write_text('kind = "tiles"\nname = "x"\n', encoding="utf-8")
    result = run("train", config, "--set", change)
    assert result.exit_code == 1
    assert "--set" in result.stderr


def test_view_without_a_display_says_so(small_tiff: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mtlpath.cli.display.has_display", lambda: False)
    result = run("view", small_tiff, "--mpp", "0.5")
    assert result.exit_code == 1
    assert "display" in result.stderr


@pytest.mark.skipif(os.name == "nt", reason="no X11")
@pytest.mark.parametrize(("display", "there"), [("", False), (":4711", False), ("elsewhere:10.0", True)])
def test_a_display_that_is_gone_does_not_count(display: str, there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DISPLAY", display)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    assert has_display() is there


def test_demo_refuses_a_slide_and_a_sample_at_once(small_tiff: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_mtlpath.cli.demo.has_display", lambda: True)
    result = run("demo", small_tiff, "--sample", "ihc")
    assert result.exit_code == 1
    assert "both" in result.stderr

"""`mtlpath retrieve` on tables as predict writes them."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from napari_mtlpath.cli.main import app

COLUMN = "blasts: attention"


def predicted(folder: Path, name: str, scores: np.ndarray) -> Path:
    """Write the part of a slide's folder that is read: 4 columns of tiles."""
    own = folder / name
    own.mkdir(parents=True)
    with (own / "tiles.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide", "tile", "row", "column", COLUMN, "blasts: prediction", "model"])
        for tile, score in enumerate(scores):
            writer.writerow([f"{name}.tif", tile, tile // 4, tile % 4, score, "", "m"])
    return own


def told(folder: Path, name: str, abnormal: list[int], *, tiles: int = 12) -> Path:
    folder.mkdir(exist_ok=True)
    rows = [f"{tile // 4},{tile % 4},{int(tile in abnormal)}" for tile in range(tiles)]
    (folder / f"{name}.csv").write_text("row,column,abnormal\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def world(tmp_path: Path) -> tuple[list[str], Path]:
    folders = [predicted(tmp_path / "out", name, np.arange(12.0)[::-1]) for name in ("a", "b", "c")]
    truth = tmp_path / "truth"
    told(truth, "a", [0, 11])
    told(truth, "b", [1, 2])
    told(truth, "c", [])
    return [str(folder) for folder in folders], truth


def run(*arguments: str):
    return CliRunner().invoke(app, ["retrieve", *arguments])


def test_report_says_hits_and_the_blind_choice_of_slides_with_abnormal_tiles(world):
    folders, truth = world
    done = run(*folders, "--truth", str(truth), "--by", COLUMN, "--k", "3", "--json")
    assert done.exit_code == 0, done.output
    row = json.loads(done.stdout)["rows"][0]
    assert (row["slides"], row["hits"]["value"]) == (2, 1.5)
    assert row["recall"]["value"] == 0.75
    assert row["enrichment"]["value"] == pytest.approx(3.0)  # (1/3 + 2/3) / 2 over 2/12
    assert row["blind_hits"]["value"] == pytest.approx(0.5)


def test_table_is_shown_and_written(world, tmp_path):
    folders, truth = world
    done = run(*folders, "--truth", str(truth), "--by", COLUMN, "--k", "3", "--k", "6", "--out", str(tmp_path / "r.md"))
    assert done.exit_code == 0, done.output
    assert "Left out 1 slides without an abnormal tile" in done.output
    assert sum(line.startswith("| ") for line in done.output.splitlines()) == 5  # heading, and two rows for each K
    written = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert written.count(f"| {COLUMN} |") == 2
    assert written.count("| blind choice |") == 2


def test_truth_of_a_simulated_smear_is_read_too(tmp_path):
    folder = predicted(tmp_path / "out", "smear", np.arange(12.0))
    grid = np.zeros((3, 4), dtype=bool)
    grid[2, 3] = True
    np.savez_compressed(tmp_path / "smear.truth.npz", is_witness=grid)
    done = run(str(folder), "--truth", str(tmp_path / "smear.truth.npz"), "--by", COLUMN, "--k", "1", "--json")
    assert json.loads(done.stdout)["rows"][0]["hits"]["value"] == 1.0


def test_a_column_that_is_not_there_is_answered_with_the_nearest(world):
    folders, truth = world
    done = run(*folders, "--truth", str(truth), "--by", "blast: attention")
    assert done.exit_code == 1
    assert "Did you mean 'blasts: attention'" in done.output


@pytest.mark.parametrize(
    ("text", "said"),
    [("row,column\n0,0\n", "needs the columns"), ("row,column,abnormal\n0,0,maybe\n", "abnormal must be 0 or 1")],
)
def test_a_table_that_cannot_be_understood_is_refused_in_words(world, tmp_path, text, said):
    folders, _ = world
    (tmp_path / "wrong.csv").write_text(text, encoding="utf-8")
    done = run(folders[0], "--truth", str(tmp_path / "wrong.csv"))
    assert done.exit_code == 1
    assert said in done.output


def test_missing_files_are_named(world, tmp_path):
    folders, truth = world
    assert "tiles.csv" in run(str(tmp_path), "--truth", str(truth)).output
    assert "a.truth.npz" in run(folders[0], "--truth", str(tmp_path / "nowhere")).output.replace("\n", "")

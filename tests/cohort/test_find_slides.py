"""Which slides a cohort has, and which feature file each gets."""

from pathlib import Path

import pytest

from napari_mtlpath.cohort.find import find_slides
from napari_mtlpath.tables.feature_files import feature_file
from napari_mtlpath.tables.problems import TableError


@pytest.fixture
def scans(tmp_path):
    for name in ("b.svs", "a.tif", "batch 1/a.svs", "notes.txt", ".trash/c.svs", "features/a.h5"):
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "scans"


def targets(slides):
    return {slide.name: slide.target.as_posix() for slide in slides}


def test_folder_is_looked_through_with_its_subfolders(scans):
    assert targets(find_slides(scans)) == {"a.tif": "a.h5", "b.svs": "b.h5", "batch 1/a.svs": "batch 1/a.h5"}


def test_pattern_and_single_slide(scans, monkeypatch):
    assert targets(find_slides(f"{scans}/*.svs")) == {"b.svs": "b.h5"}
    monkeypatch.chdir(scans)
    (slide,) = find_slides("b.svs")
    assert slide.path == scans / "b.svs"


def test_names_that_differ_in_their_suffix_alone_keep_it(scans):
    (scans / "b.tif").touch()
    assert targets(find_slides(f"{scans}/b.*")) == {"b.svs": "b.svs.h5", "b.tif": "b.tif.h5"}


def test_tables_find_every_feature_file_by_the_name_that_found_the_slide(scans):
    (scans / "b.tif").touch()
    for slide in find_slides(scans):
        target = scans / "out" / slide.target
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()
    for slide in find_slides(scans):
        assert feature_file(scans / "out", slide.name) == scans / "out" / slide.target


def test_same_name_from_two_folders_is_refused(scans):
    (scans / "a.svs").touch()
    with pytest.raises(ValueError, match=r"same feature file 'a\.svs\.h5'"):
        find_slides(f"{scans}/**/a.svs")


@pytest.mark.parametrize("suffix", [".csv", ".xlsx"])
def test_slide_table_names_slides_with_and_without_suffix(scans, suffix):
    rows = [["PATIENT", "FILENAME", "MPP"], ["P1", "b", "0.25"], ["P1", "a.tif", None], ["P2", "batch 1/a.h5", None]]
    table = scans / f"slides{suffix}"
    if suffix == ".csv":
        table.write_text("\n".join(",".join(cell or "" for cell in row) for row in rows))
    else:
        from openpyxl import Workbook

        book = Workbook()
        for row in rows:
            book.active.append(row)
        book.save(table)
    found = find_slides(table)
    assert [(slide.path.relative_to(scans).as_posix(), slide.mpp) for slide in found] == [
        ("b.svs", 0.25),
        ("a.tif", None),
        ("batch 1/a.svs", None),
    ]
    assert targets(found) == {"b": "b.h5", "a.tif": "a.h5", "batch 1/a.h5": "batch 1/a.h5"}


def test_slides_may_lie_elsewhere_than_their_table(scans, tmp_path):
    (tmp_path / "slides.csv").write_text("FILENAME\nb.svs\n")
    with pytest.raises(TableError, match="--slides"):
        find_slides(tmp_path / "slides.csv")
    assert find_slides(tmp_path / "slides.csv", slides=scans)[0].path == scans / "b.svs"


def test_everything_wrong_with_a_slide_table_is_said_at_once(scans):
    (scans / "slides.csv").write_text("FILENAME,MPP\nnone.svs,\nb.svs,half\nb.svs,\n../x.svs,\n b.svs,\n,0.5\n")
    with pytest.raises(TableError) as caught:
        find_slides(scans / "slides.csv")
    assert [problem.row for problem in caught.value.problems] == [2, 3, 4, 5, 6, 7]
    (scans / "slides.csv").write_text("FILE,MPP\nb.svs,\n")
    with pytest.raises(TableError, match="no column 'FILENAME'"):
        find_slides(scans / "slides.csv")


@pytest.mark.parametrize("cohort", ["none", "none/*.svs", "features"])
def test_cohort_without_slides_is_refused_with_a_sentence(scans, cohort):
    with pytest.raises(FileNotFoundError, match="Give a folder, a pattern in quotes, or a slide table"):
        find_slides(Path(scans) / cohort)

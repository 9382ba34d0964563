import csv
import zipfile
from pathlib import Path
from urllib.request import url2pathname

import numpy as np
import pooch
import pytest
import tifffile
from skimage.data import immunohistochemistry

from napari_mtlpath import samples
from napari_mtlpath.samples import CMU_FILE, SampleUnavailable, find_data, sample, sample_slides
from napari_mtlpath.weights import file_sha256


@pytest.fixture
def cells_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_data: Path) -> Path:
    """A data folder that holds the archive of cells and no slide."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / samples.CELLS_FILE).symlink_to(real_data / samples.CELLS_FILE)
    monkeypatch.setenv("MTLPATH_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLPATH_DATA", str(tmp_path / "nothing"))


def test_without_data_the_fetched_slide_and_the_bundled_image_are_offered(no_data) -> None:
    assert [each.name for each in sample_slides()] == ["cmu-1-small-region", "ihc"]
    assert sample("cmu-1-small-region").needs_internet
    assert not sample("ihc").needs_internet


def test_the_bundled_image_is_written_as_a_lossless_tiled_pyramid_without_a_resolution(isolated_folders: Path) -> None:
    path = sample("ihc").path()
    assert isolated_folders in path.parents
    with tifffile.TiffFile(path) as tiff:
        np.testing.assert_array_equal(tiff.pages[0].asarray(), immunohistochemistry())
        assert [page.shape for page in tiff.pages] == [(512, 512, 3), (256, 256, 3), (128, 128, 3)]
        assert [page.is_tiled for page in tiff.pages] == [True] * 3
        assert [page.is_reduced for page in tiff.pages] == [False, True, True]
        assert tiff.pages[0].tags["ResolutionUnit"].value == 1  # none
        half = tiff.pages[1].asarray().astype(float)
    expected = immunohistochemistry()[:2, :2].astype(float).mean(axis=(0, 1))
    np.testing.assert_allclose(half[0, 0], expected, atol=0.5)


def test_the_bundled_image_is_written_once(isolated_folders: Path) -> None:
    first = sample("ihc").path()
    stamp = first.stat().st_mtime_ns
    assert sample("ihc").path().stat().st_mtime_ns == stamp
    assert [path.name for path in first.parent.iterdir()] == [first.name]


def test_an_assumed_pixel_size_is_said_to_be_assumed() -> None:
    ihc = sample("ihc")
    assert ihc.assumed_mpp == 0.5
    assert "assumed" in ihc.detail


def test_every_sample_names_its_credit_and_its_model() -> None:
    for each in sample_slides():
        assert each.credit
        assert each.model in ("smear-mecds", "tissue-mecds")
        assert each.simulated == ("simulated" in each.title.lower())


def test_a_wrong_name_is_answered_with_the_known_ones(no_data) -> None:
    with pytest.raises(ValueError, match=r"no sample slide 'x' here\. Known: cmu-1-small-region, ihc"):
        sample("x")


def test_fetching_without_internet_says_what_else_to_do(no_data, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*args: object, **settings: object) -> str:
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(pooch, "retrieve", unreachable)
    with pytest.raises(SampleUnavailable, match=r"could not be fetched .* or use the sample 'ihc'"):
        sample("cmu-1-small-region").path()


def test_a_fetched_file_with_a_wrong_checksum_is_refused(
    no_data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "served").write_bytes(b"<html>not a slide</html>")
    monkeypatch.setattr(samples, "CMU_URL", (tmp_path / "served").as_uri())
    monkeypatch.setattr(pooch, "retrieve", _from_disk)
    with pytest.raises(SampleUnavailable, match="could not be fetched"):
        sample("cmu-1-small-region").path()


def _from_disk(url: str, known_hash: str, fname: str, path: Path) -> str:
    """Do what pooch.retrieve does with a downloader, without a network."""
    from pooch.core import stream_download

    source = Path(url2pathname(url.removeprefix("file://")))
    copy = lambda url, target, pup: Path(target).write_bytes(source.read_bytes())  # noqa: E731
    stream_download(url, Path(path) / fname, known_hash, copy)
    return str(Path(path) / fname)


def test_data_is_found_from_a_folder_below_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MTLPATH_DATA", raising=False)
    (tmp_path / "shared" / "data" / "wsi").mkdir(parents=True)
    (tmp_path / "project" / "docs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project" / "docs")
    assert find_data() == tmp_path / "shared" / "data"


def test_stated_data_win_and_a_wrong_path_means_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MTLPATH_DATA", str(tmp_path))
    assert find_data() == tmp_path
    monkeypatch.setenv("MTLPATH_DATA", str(tmp_path / "absent"))
    assert find_data() is None


def test_the_real_slide_is_used_where_it_lies_and_is_the_published_one(
    real_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MTLPATH_DATA", str(real_data))
    first = sample_slides()[0]
    assert (first.name, first.needs_internet) == ("cmu-1-small-region", False)
    assert first.path() == real_data / "wsi" / CMU_FILE
    assert file_sha256(first.path()) == samples.CMU_SHA256


def test_real_slides_come_before_simulated_and_fetched_ones(
    real_data: Path, cells_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [each.name for each in sample_slides()] == ["smear", "cmu-1-small-region", "ihc"]
    monkeypatch.setenv("MTLPATH_DATA", str(real_data))
    assert [each.name for each in sample_slides()] == ["cmu-1-small-region", "smear", "ihc"]


def test_the_smear_is_composed_once_of_cells_that_training_never_saw(cells_only: Path) -> None:
    from napari_mtlpath.simulation.smear_file import read_truth, truth_path

    smear = sample("smear")
    assert smear.simulated
    path = smear.path()
    assert path.name.startswith("simulated")
    truth = read_truth(truth_path(path))
    with np.load(truth_path(path)) as stored, zipfile.ZipFile(cells_only / samples.CELLS_FILE) as archive:
        table = archive.read("labels_val.csv").decode().splitlines()
        held_out = {row["img_name"] for row in csv.DictReader(table)}
        assert set(stored["names"].ravel().tolist()) <= held_out
    assert truth.witness_rate == pytest.approx(0.02, abs=0.001)
    with tifffile.TiffFile(path) as tiff:
        assert tiff.pages[0].shape == (3456, 3456, 3)
        assert "imulated" in tiff.pages[0].description
    stamp = path.stat().st_mtime_ns
    assert sample("smear").path().stat().st_mtime_ns == stamp


def test_a_broken_archive_of_cells_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / samples.CELLS_FILE).write_bytes(b"PK not a zip")
    monkeypatch.setenv("MTLPATH_DATA", str(tmp_path))
    with pytest.raises(SampleUnavailable, match="cannot be composed from pbc_wbcatt"):
        sample("smear").path()

"""S9: what is believed about the size of a pixel."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from synthetic import tissue, write_aperio_like, write_pyramid

from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resolution import (
    Resolution,
    ResolutionMemory,
    ResolutionSource,
    check_mpp,
)
from napari_mtlpath.slides.source import SlideError


def svs(tmp_path: Path, mpp: float | str | None) -> Path:
    return write_aperio_like(tmp_path / "a.svs", tissue(64, 64), levels=(1,), mpp=mpp, tile=64)


@pytest.mark.parametrize(("said", "mpp"), [(0.25, 0.25), ("0,499", 0.499), (" 0.5 ", 0.5), (20, 20.0), (0.05, 0.05)])
def test_believable_values_are_taken(tmp_path: Path, said: float | str, mpp: float) -> None:
    resolution = open_slide(svs(tmp_path, said)).resolution
    assert resolution.mpp == (mpp, mpp)
    assert resolution.source is ResolutionSource.FILE
    assert "description" in resolution.detail


@pytest.mark.parametrize("said", ["abc", "", "nan", "inf", "-0.5", "0", "0.049", "20.1", "1e308", "0.5|MPP = 0.25"])
def test_other_values_leave_the_resolution_unknown_with_a_reason(tmp_path: Path, said: str) -> None:
    resolution = open_slide(svs(tmp_path, said)).resolution
    assert not resolution.known
    assert resolution.source is ResolutionSource.UNKNOWN
    assert len(resolution.detail) > 20
    with pytest.raises(ValueError, match="set it in the Slide section"):
        _ = resolution.mean


def test_a_missing_value_is_unknown(tmp_path: Path) -> None:
    assert not open_slide(svs(tmp_path, None)).resolution.known


def test_a_screen_resolution_of_72_dpi_is_not_believed(real_data: Path) -> None:
    resolution = open_slide(real_data / "wsi" / "openslide_boxes.tiff").resolution
    assert not resolution.known
    assert "352.8" in resolution.detail


def test_contradicting_statements_cancel_each_other(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    text = "Aperio Image Library v11.2.1 \r\n64x64 |AppMag = 20|MPP = 0.5"
    for tag_mpp, known in ((0.25, False), (0.51, True), (352.8, True)):
        tifffile.imwrite(
            path,
            tissue(64, 64),
            tile=(64, 64),
            photometric="rgb",
            description=text,
            metadata=None,
            resolution=(1e4 / tag_mpp, 1e4 / tag_mpp),
            resolutionunit="CENTIMETER",
        )
        resolution = open_slide(path).resolution
        assert resolution.known is known, resolution.detail
        assert known or ("0.5" in resolution.detail and "0.25" in resolution.detail)


def test_resolution_tags_give_both_axes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, tissue(64, 64), photometric="rgb", resolution=(1e4 / 0.5, 1e4 / 0.52), resolutionunit=3)
    assert open_slide(path).resolution.mpp == pytest.approx((0.52, 0.5))


def test_values_no_slide_scanner_makes_ask_for_confirmation(real_data: Path) -> None:
    pytest.importorskip("openslide", reason="DICOM needs openslide-python")
    resolution = open_slide(real_data / "wsi" / "bonemarrow_jpeg.dcm").resolution
    assert resolution.known
    assert not resolution.plausible
    assert "please confirm" in resolution.detail


@given(y=st.floats(), x=st.floats())
def test_only_finite_square_values_between_005_and_20_pass(y: float, x: float) -> None:
    resolution = check_mpp((y, x), "the test")
    fits = bool(np.isfinite([y, x]).all()) and min(y, x) >= 0.05 and max(y, x) <= 20 and max(y / x, x / y) <= 1.25
    assert resolution.known is fits
    assert resolution.mpp == ((y, x) if fits else None)


def test_what_a_user_gives_goes_before_the_file(tmp_path: Path) -> None:
    path = svs(tmp_path, 0.5)
    resolution = open_slide(path, mpp=0.25).resolution
    assert (resolution.mpp, resolution.source) == ((0.25, 0.25), ResolutionSource.USER)
    assert open_slide(path, mpp=(0.26, 0.25)).resolution.mpp == (0.26, 0.25)
    with pytest.raises(SlideError, match=r"outside 0\.05 to 20"):
        open_slide(path, mpp=100.0)


def test_what_a_user_typed_is_remembered_for_the_slide_whatever_its_name(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", tissue(64, 64), levels=(1,), tile=64, mpp=None)
    memory = ResolutionMemory(tmp_path / "memory.json")
    slide = open_slide(path, memory=memory)
    assert not slide.resolution.known
    memory.remember(slide.fingerprint, (0.5, 0.5), author="maria")
    again = open_slide(path.rename(tmp_path / "b.tif"), memory=ResolutionMemory(tmp_path / "memory.json")).resolution
    assert (again.mpp, again.source) == ((0.5, 0.5), ResolutionSource.REMEMBERED)
    assert "maria" in again.detail


def test_nonsense_is_not_remembered(tmp_path: Path) -> None:
    memory = ResolutionMemory(tmp_path / "memory.json")
    with pytest.raises(ValueError, match="outside"):
        memory.remember("aa", (200.0, 200.0), author="maria")
    assert memory.recall("aa") is None


@pytest.mark.parametrize("content", ["", "[1]", '{"aa": 3}', '{"aa": {"mpp": [1]}}', '{"aa": {"mpp": [0, 0]}}'])
def test_a_damaged_memory_forgets_and_goes_on(tmp_path: Path, content: str) -> None:
    path = tmp_path / "memory.json"
    path.write_text(content, encoding="utf-8")
    memory = ResolutionMemory(path)
    assert memory.recall("aa") is None
    memory.remember("bb", (0.5, 0.5), author="maria")
    assert json.loads(path.read_text(encoding="utf-8"))["bb"]["mpp"] == [0.5, 0.5]


def test_the_memory_lies_in_the_users_folder(isolated_folders: Path) -> None:
    assert ResolutionMemory().path.is_relative_to(isolated_folders)


def test_a_resolution_without_value_is_unknown_and_the_other_way_round() -> None:
    with pytest.raises(ValueError, match="exactly when"):
        Resolution(mpp=None, source=ResolutionSource.FILE, detail="")

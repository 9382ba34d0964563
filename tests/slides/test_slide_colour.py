"""ICC profiles are honoured when asked for."""

import io
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms
from synthetic import tissue

from napari_mtlpath.slides.cache import TileCache
from napari_mtlpath.slides.colour import ColourMode, transform_for
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.resampling import Resampling


def profile_with_swapped_gamma(real_data: Path) -> bytes:
    """A real profile whose tone curve is another one, so that the transform visibly does something."""
    sound = open_slide(real_data / "wsi" / "openslide_boxes.tiff").facts.icc_profile
    assert sound is not None
    gamma = (1 << 16).to_bytes(4, "big")
    curve = sound.index(b"para")
    return sound[: curve + 8] + bytes(4) + gamma + sound[curve + 16 :]


@pytest.fixture
def profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def write(path: Path, array: np.ndarray, profile: bytes) -> Path:
    tifffile.imwrite(path, array, photometric="rgb", tile=(64, 64), compression="deflate", iccprofile=profile)
    return path


def test_pixels_stay_as_stored_unless_asked_for(tmp_path: Path, profile: bytes) -> None:
    array = tissue(128, 128)
    slide = open_slide(write(tmp_path / "a.tif", array, profile))
    np.testing.assert_array_equal(slide.read_region(0, 0, 128, 128).array, array)


def test_srgb_pixels_are_those_of_littlecms_applied_to_the_whole(tmp_path: Path, real_data: Path) -> None:
    array = tissue(128, 160)
    changed = profile_with_swapped_gamma(real_data)
    path = write(tmp_path / "a.tif", array, changed)
    expected = ImageCms.profileToProfile(
        Image.fromarray(array),
        ImageCms.ImageCmsProfile(io.BytesIO(changed)),
        ImageCms.createProfile("sRGB"),
    )
    cache = TileCache()
    native, srgb = (open_slide(path, colour=mode, cache=cache) for mode in ColourMode)
    assert np.abs(np.array(expected).astype(int) - array).mean() > 5
    for _ in range(2):  # the second time from the cache that both share
        np.testing.assert_array_equal(srgb.read_region(0, 0, 128, 160).array, np.array(expected))
        np.testing.assert_array_equal(native.read_region(0, 0, 128, 160).array, array)
    square = srgb.read_square(0, 0, 128, tile_px=128, resampling=Resampling.AREA).array
    np.testing.assert_array_equal(square, np.array(expected)[:, :128])
    assert native.to_dask(0).name != srgb.to_dask(0).name


def test_a_broken_profile_changes_nothing(tmp_path: Path) -> None:
    array = tissue(64, 64)
    slide = open_slide(write(tmp_path / "a.tif", array, b"no profile at all" * 20), colour=ColourMode.SRGB)
    np.testing.assert_array_equal(slide.read_region(0, 0, 64, 64).array, array)


def test_no_profile_means_no_transform() -> None:
    assert transform_for(ColourMode.SRGB, None) is None

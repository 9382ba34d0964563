"""Specks and thresholds of the tissue detector, against SciPy and scikit-image."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import ndimage
from skimage.data import immunohistochemistry
from skimage.filters import threshold_otsu

from napari_mtlpath.tiles.otsu import otsu_threshold
from napari_mtlpath.tiles.specks import without_specks


def expected(mask: np.ndarray, smallest: int) -> np.ndarray:
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    keep = sizes >= smallest
    keep[0] = False
    return keep[labels]


@pytest.mark.parametrize("share", [0.05, 0.3, 0.55, 0.6, 0.9])
@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (37, 53), (128, 200)])
def test_specks_are_those_of_scipys_labels(share: float, shape: tuple[int, int]) -> None:
    mask = np.random.default_rng(1).random(shape) < share
    for smallest in (1, 2, 9, 40):
        np.testing.assert_array_equal(without_specks(mask, smallest=smallest), expected(mask, smallest))


def test_winding_group_is_one_group() -> None:
    spiral = np.zeros((41, 41), dtype=np.bool_)
    for ring in range(0, 20, 2):
        spiral[ring, ring : 41 - ring] = spiral[40 - ring, ring : 41 - ring] = True
        spiral[ring : 41 - ring, ring] = spiral[ring : 41 - ring, 40 - ring] = True
        spiral[ring + 1, ring] = False
        spiral[ring + 2, ring + 1] = True
    for smallest in (int(spiral.sum()), int(spiral.sum()) + 1):
        np.testing.assert_array_equal(without_specks(spiral, smallest=smallest), expected(spiral, smallest))


@pytest.mark.parametrize("value", [False, True])
def test_empty_and_full_masks_stay(value: bool) -> None:
    mask = np.full((5, 7), value)
    np.testing.assert_array_equal(without_specks(mask, smallest=35), mask)


def test_threshold_is_that_of_scikit_image() -> None:
    rng = np.random.default_rng(2)
    real = immunohistochemistry().astype(np.float32)
    for values in (real.mean(axis=2), real[..., 0] / 255, rng.normal(size=(50, 60)), np.array([0.0, 1.0])):
        assert otsu_threshold(values) == pytest.approx(threshold_otsu(values), rel=1e-6)


def test_analysing_a_slide_does_not_import_what_it_can_do_without() -> None:
    code = (
        "import sys, napari_mtlpath.inference.stream, napari_mtlpath.slides.open, napari_mtlpath.zoo.load\n"
        "print([name for name in ('scipy', 'skimage', 'dask', 'timm', 'torchvision', 'napari') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

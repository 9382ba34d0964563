import h5py
import numpy as np
import pytest

from napari_mtlpath.features.h5 import FeatureLayout, LengthUnit, read_features, write_features

FEATURES = np.random.default_rng(0).normal(size=(6, 8)).astype(np.float32)
CORNERS = np.array([[0, 0], [0, 256], [0, 512], [256, 0], [256, 256], [512, 0]], dtype=float)


def write(path, features=FEATURES, corners=CORNERS, **options):
    write_features(path, features, corners, **{"extractor": "levit-1234", "tile_um": 256.0, "tile_px": 224, **options})


def test_written_file_has_stamps_layout(tmp_path):
    write(tmp_path / "slide.h5", attributes={"note": "research use only"})
    with h5py.File(tmp_path / "slide.h5") as file:
        np.testing.assert_array_equal(file["feats"][:], FEATURES)
        np.testing.assert_array_equal(file["coords"][:], CORNERS[:, ::-1])  # (x, y)
        assert file["coords"].dtype == np.float32
        assert dict(file.attrs) == {
            "extractor": "levit-1234",
            "unit": "um",
            "tile_size_um": 256.0,
            "tile_size_px": 224,
            "feat_type": "tile",
            "note": "research use only",
        }


def test_written_file_reads_back(tmp_path):
    write(tmp_path / "slide.h5")
    file = read_features(tmp_path / "slide.h5")
    np.testing.assert_array_equal(file.features, FEATURES)
    np.testing.assert_array_equal(file.coords, CORNERS)
    assert (file.unit, file.tile_side, file.tile_px) == (LengthUnit.MICRONS, 256.0, 224)
    assert (file.extractor, file.layout) == ("levit-1234", FeatureLayout.STAMP)


def test_stamps_own_half_precision_and_older_attribute_are_read(tmp_path):
    with h5py.File(tmp_path / "slide.h5", "w") as file:
        file["feats"] = FEATURES.astype(np.float16)
        file["coords"] = CORNERS[:, ::-1].astype(np.float32)
        file.attrs.update({"unit": "um", "tile_size": 256.0, "extractor": "ctranspath"})
    found = read_features(tmp_path / "slide.h5")
    assert found.features.dtype == np.float32
    assert (found.tile_side, found.tile_px, found.extractor) == (256.0, None, "ctranspath")


def test_stamps_first_files_count_in_pixels_of_224(tmp_path):
    with h5py.File(tmp_path / "slide.h5", "w") as file:
        file["feats"] = FEATURES
        file["coords"] = CORNERS[:, ::-1] / 256 * 224
    found = read_features(tmp_path / "slide.h5")
    np.testing.assert_allclose(found.coords, CORNERS)
    assert (found.unit, found.tile_side) == (LengthUnit.MICRONS, 256.0)


def test_trident_file_is_read(tmp_path):
    with h5py.File(tmp_path / "slide.h5", "w") as file:
        file["features"] = FEATURES[None]
        coords = file.create_dataset("coords", data=CORNERS[:, ::-1].astype(np.int64))
        coords.attrs.update({"patch_size": 256, "patch_size_level0": 512, "target_magnification": 20})
    found = read_features(tmp_path / "slide.h5")
    np.testing.assert_array_equal(found.coords, CORNERS)
    assert (found.unit, found.tile_side, found.tile_px) == (LengthUnit.SLIDE_PIXELS, 512.0, 256)
    assert found.layout is FeatureLayout.TRIDENT


def test_clam_file_is_read(tmp_path):
    with h5py.File(tmp_path / "slide.h5", "w") as file:
        file["features"] = FEATURES
        file["coords"] = CORNERS[:, ::-1].astype(np.int32)
    found = read_features(tmp_path / "slide.h5")
    np.testing.assert_array_equal(found.coords, CORNERS)
    assert (found.layout, found.unit, found.tile_side) == (FeatureLayout.CLAM, LengthUnit.SLIDE_PIXELS, None)


def test_failed_writing_leaves_the_old_file(tmp_path):
    write(tmp_path / "slide.h5")
    before = (tmp_path / "slide.h5").read_bytes()
    with pytest.raises(TypeError):
        write(tmp_path / "slide.h5", attributes={"bad": object()})
    assert (tmp_path / "slide.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["slide.h5"]


@pytest.mark.parametrize(
    ("features", "corners", "words"),
    [
        (FEATURES, CORNERS[:5], "expected features"),
        (FEATURES[0], CORNERS, "expected features"),
        (FEATURES, CORNERS[:, :1], "expected features"),
        (np.full_like(FEATURES, np.inf), CORNERS, "finite"),
    ],
)
def test_features_that_do_not_fit_are_not_written(tmp_path, features, corners, words):
    with pytest.raises(ValueError, match=words):
        write(tmp_path / "slide.h5", features, corners)
    assert list(tmp_path.iterdir()) == []


def test_missing_file_is_said(tmp_path):
    with pytest.raises(FileNotFoundError, match="no feature file"):
        read_features(tmp_path / "none.h5")


def test_file_that_is_no_hdf5_is_said(tmp_path):
    (tmp_path / "slide.h5").write_bytes(b"<html>" * 100)
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        read_features(tmp_path / "slide.h5")


def test_truncated_file_is_said(tmp_path):
    write(tmp_path / "slide.h5")
    content = (tmp_path / "slide.h5").read_bytes()
    (tmp_path / "slide.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        read_features(tmp_path / "slide.h5")


def test_file_of_something_else_is_said(tmp_path):
    with h5py.File(tmp_path / "slide.h5", "w") as file:
        file["image"] = np.zeros((4, 4))
    with pytest.raises(ValueError, match=r"found image"):
        read_features(tmp_path / "slide.h5")


def test_text_instead_of_numbers_is_said(tmp_path):
    with h5py.File(tmp_path / "slide.h5", "w") as file:
        file["feats"] = np.array([["a"]], dtype=h5py.string_dtype())
        file["coords"] = np.zeros((1, 2))
    with pytest.raises(ValueError, match="must hold numbers"):
        read_features(tmp_path / "slide.h5")

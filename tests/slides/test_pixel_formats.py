"""S11: which pixels are shown, converted or refused, compared with what Pillow makes of them."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from synthetic import tissue

from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.slides.source import SlideError


@pytest.fixture(scope="module")
def array() -> np.ndarray:
    return tissue(200, 300, seed=2)


def shown(path: Path) -> tuple[np.ndarray, str]:
    slide = open_slide(path)
    return slide.read_region(0, 0, slide.height, slide.width).array, " ".join(slide.facts.warnings)


@pytest.mark.parametrize("compression", [None, "lzw", "deflate", "packbits", "zstd", "jpeg2000"])
@pytest.mark.parametrize("tile", [(64, 80), None])
def test_lossless_codecs_give_the_pixels_back(
    tmp_path: Path, array: np.ndarray, compression: str | None, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "a.tif"
    options = {"compressionargs": {"reversible": True, "level": 0}} if compression == "jpeg2000" else {}
    tifffile.imwrite(path, array, photometric="rgb", tile=tile, compression=compression, **options)
    np.testing.assert_array_equal(shown(path)[0], array)


@pytest.mark.parametrize("predictor", [True, False])
def test_predictors_are_undone(tmp_path: Path, array: np.ndarray, predictor: bool) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array, photometric="rgb", tile=(64, 64), compression="deflate", predictor=predictor)
    np.testing.assert_array_equal(shown(path)[0], array)


@pytest.mark.parametrize("colourspace", ["rgb", "ycbcr"])
@pytest.mark.parametrize("tile", [(64, 64), None])
def test_jpeg_colours_are_those_that_the_tags_declare(
    tmp_path: Path, array: np.ndarray, colourspace: str, tile: tuple[int, int] | None
) -> None:
    path = tmp_path / "a.tif"
    arguments = {"level": 95, "outcolorspace": colourspace}
    tifffile.imwrite(path, array, photometric="rgb", tile=tile, compression="jpeg", compressionargs=arguments)
    ours = shown(path)[0]
    assert np.abs(ours.astype(int) - array).mean() < 2.0
    np.testing.assert_array_equal(ours, np.array(Image.open(path).convert("RGB")))


def test_planar_rgb_is_put_together(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    planes = np.ascontiguousarray(array.transpose(2, 0, 1))
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate", tile=(64, 64), compression="lzw")
    np.testing.assert_array_equal(shown(path)[0], array)


def test_grey_becomes_rgb_and_says_so(tmp_path: Path, array: np.ndarray) -> None:
    for photometric, expected in (("minisblack", array[..., 0]), ("miniswhite", 255 - array[..., 0])):
        path = tmp_path / f"{photometric}.tif"
        tifffile.imwrite(path, array[..., 0], photometric=photometric, tile=(64, 64))
        pixels, said = shown(path)
        np.testing.assert_array_equal(pixels, np.repeat(expected[..., None], 3, axis=2))
        assert "grey" in said


def test_16_bit_colours_are_reduced_and_say_so(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, array.astype(np.uint16) * 257, photometric="rgb", tile=(64, 64), compression="deflate")
    pixels, said = shown(path)
    np.testing.assert_array_equal(pixels, array)
    assert "16-bit" in said


def test_a_palette_is_looked_up(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    picture = Image.fromarray(tissue(100, 100)).quantize(40)
    picture.save(path)
    pixels, said = shown(path)
    np.testing.assert_array_equal(pixels, np.array(picture.convert("RGB")))
    assert "Palette" in said


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_transparent_pixels_are_shown_on_white(tmp_path: Path, array: np.ndarray, kind: str) -> None:
    path = tmp_path / "a.tif"
    opacity = np.zeros((200, 300, 1), np.uint8) + np.arange(300, dtype=np.uint8)[None, :, None]
    colours = array if kind == "unassalpha" else (array * (opacity / 255)).astype(np.uint8)
    tifffile.imwrite(path, np.concatenate([colours, opacity], 2), photometric="rgb", extrasamples=[kind], tile=(64, 64))
    pixels, said = shown(path)
    expected = array * (opacity / 255) + 255 * (1 - opacity / 255)
    assert np.abs(pixels - expected).max() <= 1
    assert "white" in said


@pytest.mark.parametrize(
    ("dtype", "channels", "photometric"),
    [
        ("float32", 3, "rgb"),
        ("uint16", 1, "minisblack"),
        ("complex64", 1, "minisblack"),
        ("bool", 1, "minisblack"),
        ("uint8", 4, "separated"),
        ("uint8", 5, "minisblack"),
        ("uint32", 3, "rgb"),
        ("int8", 1, "minisblack"),
    ],
)
def test_pixels_that_would_need_a_guess_are_refused(
    tmp_path: Path, dtype: str, channels: int, photometric: str
) -> None:
    path = tmp_path / "a.tif"
    pixels = np.zeros((64, 64, channels) if channels > 1 else (64, 64), dtype)
    planar = {"planarconfig": "contig"} if channels > 1 else {}
    tifffile.imwrite(path, pixels, photometric=photometric, metadata=None, **planar)
    with pytest.raises(SlideError, match=r"holds .*(Convert it to RGB|one plane)|axes"):
        open_slide(path)


def test_stacks_and_many_channels_are_refused_in_one_sentence(tmp_path: Path, real_data: Path) -> None:
    with pytest.raises(SlideError, match="axes CZYX"):
        open_slide(real_data / "wsi" / "multi-channel-z-series.ome.tif")
    for axes, shape in (("CYX", (5, 64, 64)), ("ZYXS", (4, 64, 64, 3))):
        path = tmp_path / f"{axes}.ome.tif"
        tifffile.imwrite(path, np.zeros(shape, np.uint8), metadata={"axes": axes})
        with pytest.raises(SlideError, match=f"axes {axes}"):
            open_slide(path)


def test_an_ome_tiff_of_one_colour_plane_opens_with_its_sub_levels(tmp_path: Path, array: np.ndarray) -> None:
    path = tmp_path / "a.ome.tif"
    metadata = {"axes": "YXS", "PhysicalSizeX": 400.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.4}
    with tifffile.TiffWriter(path, ome=True) as writer:
        writer.write(array, photometric="rgb", tile=(64, 64), subifds=1, metadata=metadata)
        writer.write(np.ascontiguousarray(array[::2, ::2]), photometric="rgb", tile=(64, 64), subfiletype=1)
    slide = open_slide(path)
    assert [(info.height, info.width) for info in slide.levels] == [(200, 300), (100, 150)]
    assert slide.resolution.mpp == pytest.approx((0.4, 0.4))
    np.testing.assert_array_equal(slide.read_region(0, 0, 100, 150, level=1).array, array[::2, ::2])


def test_a_flat_tiff_is_a_slide_with_virtual_tiles(tmp_path: Path) -> None:
    array = tissue(1300, 700)
    path = tmp_path / "flat.tif"
    tifffile.imwrite(path, array, photometric="rgb", rowsperstrip=7, compression="lzw")
    slide = open_slide(path)
    assert slide.tile_shape(0) == (511, 700)
    np.testing.assert_array_equal(slide.read_region(500, 10, 300, 400).array, array[500:800, 10:410])


def test_the_real_flat_example_opens(real_data: Path) -> None:
    slide = open_slide(real_data / "wsi" / "HE_example.tif")
    assert (slide.height, slide.width) == (1484, 1380)
    assert slide.resolution.mean == pytest.approx(0.5, abs=1e-3)
    expected = np.array(Image.open(slide.path).convert("RGB"))
    np.testing.assert_array_equal(slide.read_region(0, 0, 1484, 1380).array, expected)


def test_an_unknown_compression_is_refused(real_data: Path) -> None:
    with pytest.raises(SlideError, match="compression 52479"):
        open_slide(real_data / "wsi" / "openslide_unopenable.tiff")


def test_a_slide_whose_tiles_do_not_decode_opens_hatched(real_data: Path) -> None:
    slide = open_slide(real_data / "wsi" / "openslide_unreadable.svs")
    assert slide.read_region(0, 0, 16, 16).unreadable == 1
    assert slide.unreadable_tiles == 1

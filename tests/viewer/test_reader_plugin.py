"""Opening slides in napari, as a user does."""

from pathlib import Path

import numpy as np
import pytest
from npe2 import PluginManager, PluginManifest

from napari_mtlpath.viewer.binding import binding_of, session_of
from napari_mtlpath.viewer.reader import SUFFIXES, get_reader

pytestmark = pytest.mark.gui

MANIFEST = Path(__file__).parents[2] / "napari.yaml"


@pytest.fixture
def viewer(make_napari_viewer, until):
    viewer = make_napari_viewer(show=True)
    yield viewer
    session_of(viewer).close()


@pytest.fixture
def said(monkeypatch):
    """What the user is told."""
    told = []
    monkeypatch.setattr("napari_mtlpath.viewer.reader.show_error", told.append)
    return told


def test_the_manifest_is_valid_and_its_commands_exist():
    manifest = PluginManifest.from_file(MANIFEST)
    offered = {
        pattern.removeprefix("*") for reader in manifest.contributions.readers for pattern in reader.filename_patterns
    }
    assert offered == set(SUFFIXES)
    for command in manifest.contributions.commands:
        assert command.python_name.startswith("napari_mtlpath.viewer.")
    samples = {sample.key for sample in manifest.contributions.sample_data}
    assert {"cmu-1-small-region", "ihc", "smear"} == samples


def test_napari_finds_the_reader_for_a_slide():
    manager = PluginManager()
    manager.register(PluginManifest.from_file(MANIFEST))
    for name in ("A.SVS", "b.ndpi", "c.Tiff"):
        assert [reader.command for reader in manager.iter_compatible_readers([name])] == ["napari-mtlpath.get_reader"]


def test_a_file_with_another_suffix_is_left_to_others(tmp_path):
    assert get_reader(str(tmp_path / "cells.png")) is None
    assert get_reader([]) is None
    (tmp_path / "folder.tif").mkdir()
    assert get_reader(str(tmp_path / "folder.tif")) is None


def test_a_real_slide_opens_in_microns_and_is_the_sessions_slide(viewer, until, cmu_svs):
    (layer,) = viewer.open(cmu_svs, plugin="napari-mtlpath")
    slide = session_of(viewer).slide
    assert layer.metadata["slide"] is slide
    assert layer.multiscale
    assert layer.rgb
    np.testing.assert_allclose(layer.scale, (0.499, 0.499))
    assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
    assert layer.axis_labels == ("y", "x")
    assert viewer.canvas.overlays.scale_bar.visible
    until(lambda: not layer.metadata["mtlpath_display"].loader.busy)
    real = layer.metadata["dask"][0][1000:1100, 900:1000].compute()
    np.testing.assert_array_equal(real, slide.read_region(1000, 900, 100, 100).array)


def test_the_sharp_pixels_of_a_real_slide_reach_the_screen(viewer, until, cmu_svs):
    viewer.open(cmu_svs, plugin="napari-mtlpath")
    slide, display = session_of(viewer).slide, viewer.layers[0].metadata["mtlpath_display"]
    viewer.canvas.overlays.scale_bar.visible = False
    camera = viewer.scene.camera
    camera.zoom = 1 / 0.499  # one slide pixel per screen pixel
    camera.center = (0, 1500 * 0.499, 1000 * 0.499)
    viewer.screenshot(canvas_only=True, flash=False)
    until(lambda: not display.loader.busy)
    until(lambda: _seen(viewer, slide) < 1.5)


def _seen(viewer, slide) -> float:
    """Mean difference in grey levels between the middle of the canvas and the slide's own pixels."""
    shot = viewer.screenshot(canvas_only=True, flash=False)[..., :3].astype(int)
    height, width = shot.shape[:2]
    part = shot[height // 2 - 100 : height // 2 + 100, width // 2 - 100 : width // 2 + 100]
    differences = []
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            real = slide.read_region(1400 + dy, 900 + dx, 200, 200).array.astype(int)
            differences.append(np.abs(part - real).mean())
    return min(differences)


def test_what_is_not_a_slide_is_told_in_one_sentence(viewer, said, tmp_path):
    file = tmp_path / "notes.svs"
    file.write_text("no slide at all", encoding="utf-8")
    assert viewer.open(file, plugin="napari-mtlpath") == []
    assert len(said) == 1
    assert "notes.svs" in said[0]
    assert len(viewer.layers) == 0


def test_a_missing_file_is_told_in_one_sentence(viewer, said, tmp_path):
    reader = get_reader(str(tmp_path / "gone.svs"))
    assert reader(str(tmp_path / "gone.svs")) == [(None,)]
    assert len(said) == 1
    assert "gone.svs" in said[0]


def test_the_ihc_sample_opens_and_says_that_its_scale_is_assumed(viewer, until):
    viewer.open_sample("napari-mtlpath", "ihc")
    until(lambda: session_of(viewer).slide is not None)
    slide = session_of(viewer).slide
    assert slide.resolution.source == "assumed"
    assert "assumed" in slide.resolution.detail


def test_a_second_slide_takes_the_place_of_the_first(viewer, until, cmu_svs, real_data):
    viewer.open(cmu_svs, plugin="napari-mtlpath")
    first = session_of(viewer).slide
    viewer.open(real_data / "wsi" / "HE_example.tif", plugin="napari-mtlpath")
    until(lambda: [layer.name for layer in viewer.layers] == ["HE_example.tif"])
    until(lambda: first.closed)
    assert session_of(viewer).slide is binding_of(viewer).slide_layer().metadata["slide"]

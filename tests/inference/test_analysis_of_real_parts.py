"""The analysis with the real slide, encoder, aggregator and model classes."""

import threading

import numpy as np
import pytest
import torch

from napari_mtlpath.encoders.families.timm import Timm
from napari_mtlpath.encoders.load import load_encoder
from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.encode import encode
from napari_mtlpath.inference.heatmap import HeatmapKind
from napari_mtlpath.inference.live import LiveAnalysis, LiveState
from napari_mtlpath.inference.plan import key_for, plan_for
from napari_mtlpath.inference.stream import analyse_slide
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.slides.colour import ColourMode
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.units import Microns
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.device import pick_device
from napari_mtlpath.zoo.model import SlideModel


def model_of(encoder, *, tile_um: float = 48.0) -> SlideModel:
    tasks = (Classification(name="witness"), Regression(name="share"))
    generator = torch.Generator().manual_seed(0)
    options = {"width": 24, "heads": 2, "blocks": 1}
    aggregator = MECDS.build(tasks=tasks, features=encoder.features, options=options, generator=generator)
    card = ModelCard(
        name="small",
        tasks=tasks,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=Microns(tile_um), tile_px=encoder.tile_px),
        aggregator="mecds",
        options=aggregator.options,
        licence="CC0-1.0",
    )
    return SlideModel(card=card, encoder=encoder, aggregator=aggregator, device=pick_device("cpu"))


@pytest.fixture(scope="module")
def model() -> SlideModel:
    return model_of(load_encoder("colour-stats"))


def live_result(slide, model, store):
    done = threading.Event()
    reports = []

    def on_report(report):
        reports.append(report)
        if report.state in (LiveState.COMPLETE, LiveState.FAILED):
            done.set()

    live = LiveAnalysis(slide, model, store=store, on_report=on_report, idle_after=0.0)
    live.look_at(200.0, 700.0, 900.0, 1500.0)
    assert done.wait(60)
    assert live.close()
    assert reports[-1].state is LiveState.COMPLETE, reports[-1].message
    return reports[-1].result


def assert_equal(one, other):
    assert one.tiles_known == other.tiles_known
    assert [task.value for task in one.tasks] == [task.value for task in other.tasks]
    for key, heatmap in one.heatmaps.items():
        np.testing.assert_array_equal(heatmap.values, other.heatmaps[key].values)


def test_viewer_and_command_line_agree_to_the_last_bit_on_a_real_slide(cmu_svs, model, tmp_path):
    slide = open_slide(cmu_svs)
    live_store, stream_store = FeatureStore(tmp_path / "a.sqlite"), FeatureStore(tmp_path / "b.sqlite")
    seen = live_result(slide, model, live_store)
    streamed = list(analyse_slide(slide, model, store=stream_store))[-1]
    assert_equal(seen, streamed)
    plan = plan_for(slide, model)
    routing = streamed.heatmaps["witness", HeatmapKind.ROUTING].values
    np.testing.assert_array_equal(np.isfinite(routing), plan.tissue)
    assert np.nanmean(routing) == pytest.approx(1.0, abs=1e-4)
    slide.close()
    live_store.close()
    stream_store.close()


def test_embedding_does_not_depend_on_the_batch_it_was_made_in():
    torch.manual_seed(0)
    encoder = Timm.build(name="untrained", options={"model": "levit_128s", "tile_px": 96}, state=None)
    encoder.module.eval()
    model = model_of(encoder)
    tiles = np.random.default_rng(0).integers(0, 255, size=(9, 96, 96, 3), dtype=np.uint8)
    together = encode(model, tiles)
    for size in (1, 2, 4, 5):
        parts = np.concatenate([encode(model, tiles[first : first + size]) for first in range(0, 9, size)])
        np.testing.assert_array_equal(parts, together)


def test_second_model_on_the_same_encoder_reads_no_tile(cmu_svs, model, tmp_path, monkeypatch):
    slide = open_slide(cmu_svs)
    store = FeatureStore(tmp_path / "a.sqlite")
    list(analyse_slide(slide, model, store=store))
    other = model_of(load_encoder("colour-stats"))

    def refuse(*arguments, **options):
        raise AssertionError("a tile was read")

    monkeypatch.setattr(slide, "read_square", refuse)
    assert list(analyse_slide(slide, other, store=store))[-1].complete
    slide.close()
    store.close()


def test_key_tells_encoders_tiles_and_colours_apart(cmu_svs, model):
    slide, coloured = open_slide(cmu_svs), open_slide(cmu_svs, colour=ColourMode.SRGB)
    larger = model_of(load_encoder("colour-stats"), tile_um=96.0)
    keys = {
        key_for(slide, model, plan_for(slide, model).grid).text,
        key_for(slide, larger, plan_for(slide, larger).grid).text,
        key_for(coloured, model, plan_for(coloured, model).grid).text,
    }
    assert len(keys) == 3
    slide.close()
    coloured.close()

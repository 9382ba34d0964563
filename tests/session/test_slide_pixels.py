"""Slides that were open once are read again for an encoder that learns, or it is said why they cannot be."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from synthetic import tissue, write_pyramid
from taught_world import FINE, NEW, saved_model, tiny_encoder

from napari_mtlpath.features.store import FeatureStore
from napari_mtlpath.inference.plan import plan_for
from napari_mtlpath.inference.stream import embed_slide
from napari_mtlpath.session import slide_pixels
from napari_mtlpath.session.label_place import slide_seen
from napari_mtlpath.session.reference_bags import reference_bags
from napari_mtlpath.session.slide_pixels import with_pixels
from napari_mtlpath.slides.open import open_slide
from napari_mtlpath.training.teaching.config import parse_teach_config
from napari_mtlpath.training.teaching.lesson import Lesson

CONFIG = parse_teach_config({"mode": "shared", "encoder_blocks": 1})


class World:
    """A model with an encoder that can learn, and two slides that it has seen."""

    def __init__(self, folder: Path):
        self.model = saved_model(folder, own=tiny_encoder(), tile=FINE)
        self.store = FeatureStore(folder / "features.sqlite")
        self.seen, self.paths, self.told = {}, {}, []
        for name, seed in (("a.tif", 0), ("b.tif", 1)):
            slide = open_slide(write_pyramid(folder / name, tissue(224 * 4, 224 * 5, seed=seed), mpp=0.25))
            list(embed_slide(slide, self.model, store=self.store))
            self.seen[slide.fingerprint] = slide_seen(slide, mpp=slide.resolution.mpp)
            self.paths[name] = Path(slide.path)
            self.plan = plan_for(slide, self.model)
            slide.close()
        self.bags = {self.seen[bag.fingerprint].name: bag for bag in reference_bags(self.store, self.model)}

    def lesson(self, **changes) -> Lesson:
        bag = replace(self.bags["a.tif"], **changes)
        labels = np.full(len(bag.features), math.nan)
        labels[:4] = 0, 0, 1, 1
        return Lesson(task=NEW, bags=(replace(bag, name="a.tif", tile_labels=labels),))

    def brought(self, lesson=None, references=None, config=CONFIG):
        wanted = (self.bags["b.tif"],) if references is None else references
        return with_pixels(
            config, self.model, (lesson or self.lesson(),), wanted, seen=self.seen, tell=self.told.append
        )


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def test_tiles_are_those_that_the_features_were_made_of(world: World):
    with world.brought() as ready:
        for bag in (*ready.lessons[0].bags, *ready.references):
            pixels = bag.pixels.read(torch.from_numpy(bag.numbers))
            assert np.array_equal(world.model.encoder.embed_pixels(pixels.numpy()), bag.features)
    assert world.told == []


def test_nothing_is_opened_where_the_encoder_does_not_learn(world: World):
    for path in world.paths.values():
        path.unlink()
    with world.brought(config=parse_teach_config({"mode": "shared"})) as ready:
        assert ready.lessons[0].bags[0].pixels is None


def test_moved_slide_of_a_lesson_is_refused_in_one_sentence(world: World):
    world.paths["a.tif"].rename(world.paths["a.tif"].with_name("elsewhere.tif"))
    with pytest.raises(ValueError, match=r"Slide 'a.tif' is not at .*a\.tif any more, .* needs its pixels\. Open it"):
        world.brought().__enter__()


def test_another_file_in_a_slides_place_is_refused(world: World):
    world.paths["a.tif"].write_bytes(world.paths["b.tif"].read_bytes())
    with pytest.raises(ValueError, match=r"is not the slide 'a\.tif' that was seen before"):
        world.brought().__enter__()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"numbers": None}, "'a.tif' is known by its features only"),
        ({"fingerprint": "0" * 64}, "Where slide 'a.tif' lies is not known"),
        ({"grid": "another"}, "other microns per pixel now"),
    ],
)
def test_lesson_whose_tiles_cannot_be_found_is_refused(changes: dict, sentence: str, world: World):
    with pytest.raises(ValueError, match=sentence):
        world.brought(world.lesson(**changes)).__enter__()


def test_reference_slide_that_was_moved_is_left_out_and_named(world: World):
    world.paths["b.tif"].unlink()
    with world.brought(references=tuple(world.bags.values())) as ready:
        assert [bag.name for bag in ready.references] == [world.bags["a.tif"].name]
    (told,) = world.told
    assert told.startswith("Not compared, because their files cannot be opened again: ")


def test_few_slides_stay_open_and_few_tiles_are_kept(world: World, monkeypatch):
    monkeypatch.setattr(slide_pixels, "OPEN_SLIDES", 1)
    monkeypatch.setattr(slide_pixels, "KEPT_BYTES", 3 * 32 * 32 * 3)
    with world.brought() as ready:
        (mine,), (other,) = ready.lessons[0].bags, ready.references
        first = mine.pixels.read(torch.from_numpy(mine.numbers))
        other.pixels.read(torch.from_numpy(other.numbers))
        assert torch.equal(mine.pixels.read(torch.from_numpy(mine.numbers)), first)

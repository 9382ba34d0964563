"""Pixel networks: shapes, who reads whom, and what each reduces to."""

import pytest
import torch
from pixel_worlds import PARTS, SMALL, STAIN, TYPES, random_tiles, small_network

from napari_mtlpath.nn.pixels.attention import TaskMasks, mean_of_others
from napari_mtlpath.nn.pixels.cross_attention import Bottleneck, attended
from napari_mtlpath.tasks import Segmentation
from napari_mtlpath.zoo.pixel_load import PIXEL_NETWORKS

NAMES = PIXEL_NETWORKS.names()
WITH_ATTENTION = ("ctan", "mtan")


def gradients(network: torch.nn.Module, task: str, tiles: torch.Tensor) -> dict[str, torch.Tensor | None]:
    network.requires_grad_(True)
    network.zero_grad(set_to_none=True)
    network(tiles, wanted=[task]).tasks[task].square().mean().backward()
    return {name: parameter.grad for name, parameter in network.named_parameters()}


def is_reached(gradient: torch.Tensor | None) -> bool:
    return gradient is not None and bool(gradient.abs().sum() > 0)


def test_the_networks_of_the_paper_are_there():
    assert {"ctan", "mtan", "hps", "single"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("height", "width"), [(224, 224), (256, 256), (97, 131), (33, 32)])
def test_answers_lie_on_the_tiles_pixels_whatever_their_size(name: str, height: int, width: int):
    network = small_network(name, (PARTS, TYPES, STAIN))
    with torch.inference_mode():
        said = network(random_tiles(2, height, width), explain=True)
    assert said.tasks["cell_parts"].shape == (2, 3, height, width)
    assert said.tasks["stain"].shape == (2, 1, height, width)
    assert said.tasks["cell_type"].shape == (2, 4)
    assert set(said.attention) == ({"cell_parts", "cell_type", "stain"} if name in WITH_ATTENTION else set())
    for mask in said.attention.values():
        assert mask.shape == (2, height, width)
        assert 0 <= mask.min() <= mask.max() <= 1


@pytest.mark.parametrize("backbone", ["convnext_atto", "mobilenetv3_small_050", "resnet18"])
def test_any_backbone_of_timm_that_gives_features_will_do(backbone: str):
    network = PIXEL_NETWORKS.load("ctan").build(tasks=(PARTS, TYPES), options={"backbone": backbone, "widest": 8})
    with torch.inference_mode():
        assert network.eval()(random_tiles(1, 97, 97)).tasks["cell_parts"].shape == (1, 3, 97, 97)


def test_features_with_channels_last_are_turned():
    options = {"backbone": "swin_tiny_patch4_window7_224", "widest": 4, "arguments": {"depths": [1, 1, 1, 1]}}
    network = PIXEL_NETWORKS.load("hps").build(tasks=(PARTS,), options=options)
    assert network.backbone(random_tiles(1, 224, 224))[0].shape[1:] == (96, 56, 56)


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_levels_say_how_fine_the_skips_are(levels: int):
    network = small_network("ctan", levels=levels)
    decoder = network.decoders["cell_parts"]
    assert len(decoder.blocks) == levels - 1
    assert network(random_tiles(1)).tasks["cell_parts"].shape == (1, 3, 64, 64)


def test_published_levels_give_three_upsampling_blocks_and_four_downsampling_layers():
    network = small_network("ctan")
    assert len(network.decoders["cell_parts"].blocks) == 3
    assert len(network.decoders["cell_type"].layers) == 4


@pytest.mark.parametrize("name", NAMES)
def test_options_build_the_same_network_again(name: str):
    network = small_network(name, levels=3, widest=5)
    again = PIXEL_NETWORKS.load(name).build(tasks=network.tasks, options=network.options)
    again.load_state_dict(network.state_dict())
    tiles = random_tiles()
    assert torch.equal(network(tiles).tasks["cell_type"], again.eval()(tiles).tasks["cell_type"])


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_weights(name: str):
    first, second = small_network(name).state_dict(), small_network(name).state_dict()
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", ["ctan", "mtan"])
def test_swapping_two_tasks_swaps_their_answers(name: str):
    one, other = (Segmentation(name=n, classes=("background", "object")) for n in ("one", "other"))
    network = small_network(name, (one, other))
    state = network.state_dict()
    words = {"one": "other", "other": "one"}
    swapped = {".".join(words.get(word, word) for word in key.split(".")): value for key, value in state.items()}
    twin = small_network(name, (one, other))
    twin.load_state_dict(swapped)
    tiles = random_tiles()
    with torch.inference_mode():
        before, after = network(tiles).tasks, twin(tiles).tasks
    assert torch.equal(before["one"], after["other"])
    assert torch.equal(before["other"], after["one"])
    assert not torch.allclose(before["one"], before["other"])


@pytest.mark.parametrize("name", WITH_ATTENTION)
def test_masks_of_one_make_it_hard_parameter_sharing(name: str, monkeypatch: pytest.MonkeyPatch):
    options = {"bottleneck": "none"} if name == "ctan" else {}
    network, plain = small_network(name, **options), small_network("hps")
    plain.load_state_dict({key: network.state_dict()[key] for key in plain.state_dict()})
    tiles = random_tiles()
    with torch.inference_mode():
        masked, shared = network(tiles).tasks, plain(tiles).tasks
        assert not torch.allclose(masked["cell_parts"], shared["cell_parts"])
        original = TaskMasks.forward
        monkeypatch.setattr(TaskMasks, "forward", lambda *args: torch.ones_like(original(*args)))
        opened = network(tiles).tasks
    for task in opened:
        assert torch.equal(opened[task], shared[task])


def test_with_masks_of_one_the_bottleneck_gives_all_tasks_the_same(monkeypatch: pytest.MonkeyPatch):
    network = small_network("ctan", (PARTS, TYPES, STAIN))
    original = TaskMasks.forward
    monkeypatch.setattr(TaskMasks, "forward", lambda *args: torch.ones_like(original(*args)))
    tiles = random_tiles()
    with torch.inference_mode():
        maps = network.backbone(tiles)
        shared = [block(each) for block, each in zip(network.blocks, maps, strict=True)]
        views = list(network._views(maps, shared).values())
    for view in views[1:]:
        assert torch.allclose(view.bottleneck, views[0].bottleneck, atol=1e-6)


def test_the_loss_of_one_task_reaches_the_masks_of_the_other_in_ctan_only():
    tiles = random_tiles()
    crossed, apart = (gradients(small_network(name), "cell_type", tiles) for name in ("ctan", "mtan"))
    of_other = [name for name in crossed if name.startswith("levels.tasks.cell_parts.")]
    assert len(of_other) > 10
    assert all(is_reached(crossed[name]) for name in of_other if "masks.0" in name and name.endswith("weight"))
    assert not any(is_reached(apart[name]) for name in of_other)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_called_a_tasks_own_is_reached_by_no_other_task(name: str):
    network = small_network(name, (PARTS, TYPES, STAIN))
    found = gradients(network, "cell_type", random_tiles())
    named = {id(parameter): key for key, parameter in network.named_parameters()}
    for task in ("cell_parts", "stain"):
        own = [named[id(parameter)] for parameter in network.task_parameters(task)]
        assert own
        assert not any(is_reached(found[key]) for key in own)
    shared = {named[id(parameter)] for parameter in network.shared_parameters()}
    assert (not shared) == (name == "single")
    parts = [named[id(p)] for task in network.tasks for p in network.task_parameters(task.name)]
    assert len(parts) == len(set(parts))
    assert shared | set(parts) == set(named.values())


def test_with_three_tasks_the_other_is_the_mean_of_the_others():
    values = {name: torch.randn(2, 3) for name in "abc"}
    torch.testing.assert_close(mean_of_others(values, "b"), (values["a"] + values["c"]) / 2)
    pair = {name: values[name] for name in "ab"}
    assert mean_of_others(pair, "a") is pair["b"]


def reference(own: torch.Tensor, other: torch.Tensor, mode: str) -> torch.Tensor:
    """Sum by sum in float64, independent of any matrix product."""
    tiles, channels, height, width = own.shape
    result = torch.zeros_like(own)
    for tile in range(tiles):
        e = own[tile].reshape(channels, -1)
        o = other[tile].reshape(channels, -1)
        n = height * width
        made = torch.zeros(channels, n, dtype=own.dtype)
        if mode == "literal_spatial":
            for c in range(channels):
                for j in range(n):
                    made[c, j] = sum(e[c, i] * sum(o[d, i] * e[d, j] for d in range(channels)) for i in range(n))
        elif mode == "literal_channel":
            for c in range(channels):
                for i in range(n):
                    made[c, i] = sum(e[d, i] * sum(o[d, k] * e[c, k] for k in range(n)) for d in range(channels))
        else:
            for i in range(n):
                scores = [sum(o[d, i] * e[d, k] for d in range(channels)) / channels**0.5 for k in range(n)]
                total = sum(score.exp() for score in scores)
                for c in range(channels):
                    made[c, i] = e[c, i] + sum(scores[k].exp() / total * e[c, k] for k in range(n))
        result[tile] = made.reshape(channels, height, width)
    return result


@pytest.mark.parametrize("mode", ["attention", "literal_spatial", "literal_channel"])
def test_the_bottleneck_equals_its_formula_summed_by_hand(mode: str):
    generator = torch.Generator().manual_seed(3)
    own, other = (torch.randn(2, 3, 2, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    made = attended(own.float(), other.float(), mode=Bottleneck(mode))
    torch.testing.assert_close(made.double(), reference(own, other, mode), atol=1e-5, rtol=1e-5)


def test_without_a_bottleneck_features_stay_as_they_are():
    own, other = torch.randn(1, 2, 2, 2), torch.randn(1, 2, 2, 2)
    assert attended(own, other, mode=Bottleneck.NONE) is own


def test_one_level_of_ctae_equals_the_formula_written_out():
    network = small_network("ctan", levels=2, bottleneck="none").double()
    tiles = random_tiles()
    with torch.inference_mode():
        network.backbone.scale, network.backbone.shift = (
            each.double() for each in (network.backbone.scale, network.backbone.shift)
        )
        u = network.backbone.network((tiles.permute(0, 3, 1, 2).double() - 127.5) / 63.75)[-2:]
        p = [network.blocks[j](u[j]) for j in range(2)]
        masks = {t: network.levels.tasks[t] for t in ("cell_parts", "cell_type")}
        first = {t: m.masks[0](m.embeddings[0](u[0])) for t, m in masks.items()}
        hat = {
            t: torch.nn.functional.max_pool2d(network.levels.pools[0](first[o] * p[0]), 2)
            for t, o in (("cell_parts", "cell_type"), ("cell_type", "cell_parts"))
        }
        second = {t: m.masks[1](m.embeddings[1](torch.cat([u[1], hat[t]], 1))) for t, m in masks.items()}
        bottom = network.bottleneck(second["cell_type"] * p[1])
        skip = first["cell_type"] * p[0]
        up = torch.nn.functional.interpolate(bottom, scale_factor=2, mode="bilinear", align_corners=False)
        decoder = network.decoders["cell_parts"]
        logits = decoder.head(decoder.blocks[0](torch.cat([up, skip], 1)))
        expected = torch.nn.functional.interpolate(logits, size=(64, 64), mode="bilinear", align_corners=False)
        network.backbone.forward = lambda _: u
        made = network(tiles).tasks["cell_parts"]
    torch.testing.assert_close(made, expected, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "tasks", "sentence"),
    [
        ({"backbone": "resnet10x"}, (PARTS, TYPES), r"has no backbone 'resnet10x'. Did you mean 'resnet10t'\?"),
        ({"backbone": "resnet10t", "levels": 9}, (PARTS, TYPES), "has 5 levels of features; found levels = 9"),
        ({"levels": 1}, (PARTS, TYPES), "at least 2"),
        ({"std": [0.1, 0.1]}, (PARTS, TYPES), "three numbers"),
        ({"widest": -1}, (PARTS, TYPES), "at least 0"),
        ({"bottlenek": "none"}, (PARTS, TYPES), "Did you mean 'bottleneck'"),
        ({"bottleneck": "literal"}, (PARTS, TYPES), "must be one of attention"),
        ({"arguments": {"pretrained_cfg": "x"}}, (PARTS, TYPES), "may not give timm the arguments pretrained_cfg"),
        ({"arguments": {"nonsense": 1}}, (PARTS, TYPES), "timm cannot give feature maps"),
        ({}, (PARTS,), "at least 2; found 1. Choose network 'single'"),
        ({}, (PARTS, PARTS), "name of its own"),
        ({}, (PARTS, Segmentation(name="type")), "No task can be called 'type'"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_sentence(options: dict, tasks: tuple, sentence: str):
    with pytest.raises(ValueError, match=sentence):
        PIXEL_NETWORKS.load("ctan").build(tasks=tasks, options=SMALL | options)


def test_unknown_tasks_and_tiny_tiles_are_refused():
    network = small_network("ctan")
    with pytest.raises(ValueError, match=r"no task 'cell_part'. Did you mean 'cell_parts'\?"):
        network(random_tiles(), wanted=["cell_part"])
    with pytest.raises(ValueError, match=r"at least 32 x 32 pixels; found \[16, 64\]"):
        network(random_tiles(1, 16, 64))

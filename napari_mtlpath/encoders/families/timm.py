"""Tile encoders of timm: any of its architectures, with one's own weights or with timm's."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional

from napari_mtlpath.encoders.encoder import Encoder, EncoderFamily
from napari_mtlpath.encoders.hub import HUB_PREFIX, hub_errors, hub_file
from napari_mtlpath.encoders.tile_network import NetworkEncoder, TileNetwork
from napari_mtlpath.weights import WeightsError, load_weights, read_weights

OPTIONS = frozenset({"model", "tile_px", "mean", "std", "pretrained", "arguments"})
LEVIT_STRIDE = 16
SET_BY_US = frozenset({"num_classes", "img_size", "features_only", "checkpoint_path", "cache_dir"})
"""Arguments of ``timm.create_model`` that a card may not give, like all that begin with "pretrained": they would load
other files, pickles among them, or change what the network returns."""

BIAS_TABLE = "attention_biases"
"""LeViT's table per head over the offsets (|dy|, |dx|) of two tokens: its size depends on the tile's."""


class Timm(EncoderFamily):
    """Any model of timm, pooled, without its classifier.

    Options: ``model`` (timm's name), ``tile_px``, ``mean`` and ``std`` (of 0 to 1, default timm's for that model),
    ``pretrained`` (timm's own weights, downloaded on first use; default false), ``arguments`` (passed to
    ``timm.create_model``).
    """

    @classmethod
    def build(cls, *, name: str, options: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> Encoder:
        """Build the network; without `state` and without ``pretrained`` its weights are random, to be trained."""
        unknown = set(options) - OPTIONS
        if unknown or "model" not in options:
            raise ValueError(
                f"Encoder {name!r}: family timm needs the option 'model' and knows {', '.join(sorted(OPTIONS))}; "
                f"found {', '.join(sorted(options)) or 'none'}."
            )
        config = _config(name, str(options["model"]))
        tile_px = int(options.get("tile_px", config.input_size[-1]))
        mean, std = tuple(options.get("mean", config.mean)), tuple(options.get("std", config.std))
        arguments = dict(options.get("arguments", {}))
        refused = sorted(key for key in arguments if key in SET_BY_US or key.startswith("pretrained"))
        if refused:
            raise ValueError(f"Encoder {name!r}: a card may not give timm the arguments {', '.join(refused)}.")
        pretrained = bool(options.get("pretrained", False)) and state is None
        backbone = _backbone(str(options["model"]), tile_px, arguments, config=config, pretrained=pretrained)
        network = TileNetwork(backbone, mean=mean, std=std)
        if state is not None:
            load_weights(network, state, what=f"The weights of encoder {name!r}")
        description = {"family": "timm", "model": options["model"], "tile_px": tile_px, "arguments": arguments}
        return NetworkEncoder(
            name=name, module=network, tile_px=tile_px, description={**description, "mean": mean, "std": std}
        )


def resize_bias_tables(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """Return LeViT weights with their attention-bias tables brought to the sizes that `model` has.

    A table [head, offset] is an image of (|dy|, |dx|); it is resized bicubically with its corners kept: offset 0
    stays a token's own and the largest offset stays the largest. Approximate, as every change of a trained size is.
    """
    resized = dict(state)
    for name, expected in model.state_dict().items():
        table = state.get(name)
        if name.endswith(BIAS_TABLE) and table is not None and table.shape != expected.shape:
            old, new = (round(t.shape[-1] ** 0.5) for t in (table, expected))
            image = table.view(1, -1, old, old)
            image = functional.interpolate(image, size=(new, new), mode="bicubic", align_corners=True)
            resized[name] = image.view(expected.shape)
    return resized


@runtime_checkable
class _Config(Protocol):
    """What is read of timm's ``PretrainedCfg``."""

    input_size: tuple[int, int, int]
    fixed_input_size: bool
    mean: tuple[float, ...]
    std: tuple[float, ...]
    hf_hub_id: str | None
    custom_load: bool


def _config(encoder: str, model: str) -> _Config:
    import timm

    if model.startswith(HUB_PREFIX):
        from timm.models import load_model_config_from_hf

        with hub_errors(model.removeprefix(HUB_PREFIX)):
            return timm.models.PretrainedCfg(**load_model_config_from_hf(model.removeprefix(HUB_PREFIX))[0])
    names = timm.list_models()
    if model not in names and model not in timm.list_pretrained():
        nearest = difflib.get_close_matches(model, [*names, *timm.list_pretrained()], n=1)
        hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"Encoder {encoder!r}: timm {timm.__version__} has no model {model!r}.{hint}")
    return timm.models.get_pretrained_cfg(model)


def _backbone(
    model: str, tile_px: int, arguments: Mapping[str, Any], *, config: _Config, pretrained: bool
) -> nn.Module:
    import timm

    is_levit = "levit" in model
    if is_levit and tile_px % LEVIT_STRIDE:
        raise ValueError(f"LeViT takes tiles of a multiple of {LEVIT_STRIDE} pixels; found tile_px = {tile_px}.")
    native = tile_px == config.input_size[-1]
    size = {} if native or not config.fixed_input_size else {"img_size": tile_px}
    settings = {"num_classes": 0, **arguments}
    try:
        if not pretrained:
            return timm.create_model(model, pretrained=False, **settings, **size)
        overlay = {"file": str(_pretrained_file(model, config))}
        if is_levit and size:
            source = timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **settings)
            backbone = timm.create_model(model, pretrained=False, **settings, **size)
            weights = resize_bias_tables(source.state_dict(), backbone)
            load_weights(backbone, weights, what=f"timm's weights of {model!r}")
            return backbone
        return timm.create_model(model, pretrained=True, pretrained_cfg_overlay=overlay, **settings, **size)
    except (TypeError, RuntimeError, AssertionError) as error:
        raise ValueError(f"timm cannot build {model!r} at {tile_px} px with {settings}: {error}") from error


def _pretrained_file(model: str, config: _Config) -> Path:
    repository = model.removeprefix(HUB_PREFIX) if model.startswith(HUB_PREFIX) else config.hf_hub_id
    if not repository or config.custom_load:
        raise WeightsError(f"timm offers no safetensors weights for {model!r}. Choose one of timm.list_pretrained().")
    path = hub_file(repository, "model.safetensors")
    read_weights(path)
    return path

"""Tile encoders of Hugging Face transformers: vision models from the Hub or from a folder."""

import inspect
import json
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, assert_never

from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder, EncoderFamily
from napari_mtlpath.encoders.hub import hub_errors, hub_file
from napari_mtlpath.encoders.tile_network import NetworkEncoder, TileNetwork
from napari_mtlpath.weights import check_finite, load_weights

OPTIONS = frozenset({"model", "tile_px", "mean", "std", "pooling", "pretrained", "trust_remote_code", "revision"})


class Pooling(StrEnum):
    """How one embedding is made of a model's output.

    `CLS` takes the first token, `MEAN` the mean over all tokens (over all places of a convolutional network), `POOLER`
    the model's own pooled output.
    """

    CLS = "cls"
    MEAN = "mean"
    POOLER = "pooler"


class Transformers(EncoderFamily):
    """Any vision model that transformers' AutoModel knows; needs the extra ``transformers``.

    Options: ``model`` (``"ORG/NAME"`` on the Hub, or a folder), ``revision`` (its commit), ``tile_px``, ``mean`` and
    ``std`` (default: what the model's preprocessing file states), ``pooling`` (``cls``, ``mean`` or ``pooler``),
    ``pretrained`` (default true), ``trust_remote_code`` (run the repository's own Python: default false, and only with
    a ``revision``, so that the code cannot change afterwards).
    """

    @classmethod
    def build(cls, *, name: str, options: Mapping[str, Any], state: Mapping[str, Tensor] | None) -> Encoder:
        """Build the network, with `state`, or with the model's own safetensors weights."""
        _check_options(name, options)
        source = {
            "trust_remote_code": bool(options.get("trust_remote_code", False)),
            "revision": options.get("revision"),
        }
        model = str(options["model"])
        pooling = Pooling(options.get("pooling", Pooling.CLS))
        stated = {**_preprocessing(model, options), **options}
        if not {"tile_px", "mean", "std"} <= set(stated):
            raise ValueError(
                f"Encoder {name!r}: {model!r} states no preprocessing. Give tile_px, mean and std in [architecture]."
            )
        pretrained = state is None and bool(options.get("pretrained", True))
        backbone = _Pooled(
            _backbone(name, model, source, pretrained=pretrained), pooling, tile_px=int(stated["tile_px"])
        )
        network = TileNetwork(backbone, mean=stated["mean"], std=stated["std"])
        if state is not None:
            load_weights(network, state, what=f"The weights of encoder {name!r}")
        check_finite(network.state_dict(), what=f"The weights of encoder {name!r}")
        description = {key: stated.get(key) for key in ("model", "revision", "tile_px", "mean", "std")}
        return NetworkEncoder(
            name=name,
            module=network,
            tile_px=int(stated["tile_px"]),
            description={**description, "family": "transformers", "pooling": pooling.value},
        )


class _Pooled(nn.Module):
    """Runs a transformers model on pixels and makes one embedding of its output."""

    def __init__(self, model: nn.Module, pooling: Pooling, *, tile_px: int) -> None:
        super().__init__()
        self.model = model
        self.pooling = pooling
        size = getattr(getattr(model, "config", None), "image_size", tile_px)
        resizes = "interpolate_pos_encoding" in inspect.signature(model.forward).parameters
        self.extra = {"interpolate_pos_encoding": True} if resizes and size != tile_px else {}

    def forward(self, pixels: Float[Tensor, "tile 3 y x"]) -> Float[Tensor, "tile feature"]:
        output = self.model(pixel_values=pixels, **self.extra)
        tokens = output.last_hidden_state
        match self.pooling:
            case Pooling.POOLER:
                return output.pooler_output.flatten(1)
            case Pooling.MEAN:
                return tokens.mean(dim=1) if tokens.ndim == 3 else tokens.flatten(2).mean(dim=2)
            case Pooling.CLS:
                if tokens.ndim != 3:
                    raise ValueError("This model has no class token. Say pooling = 'mean' or 'pooler' on its card.")
                return tokens[:, 0]
            case _:
                assert_never(self.pooling)


def _check_options(name: str, options: Mapping[str, Any]) -> None:
    unknown = set(options) - OPTIONS
    if unknown or "model" not in options:
        raise ValueError(
            f"Encoder {name!r}: family transformers needs the option 'model' and knows {', '.join(sorted(OPTIONS))}; "
            f"found {', '.join(sorted(options)) or 'none'}."
        )
    if options.get("pooling", Pooling.CLS) not in list(Pooling):
        raise ValueError(
            f"Encoder {name!r}: pooling must be one of {', '.join(Pooling)}; found {options['pooling']!r}."
        )
    if options.get("trust_remote_code") and not options.get("revision"):
        raise ValueError(
            f"Encoder {name!r}: trust_remote_code runs Python from the Hub, so it needs revision = '<commit>': "
            "the version whose code you have read."
        )


def _backbone(name: str, model: str, source: Mapping[str, Any], *, pretrained: bool) -> nn.Module:
    try:
        from transformers import AutoConfig, AutoModel
    except ImportError as error:
        raise ImportError(
            f"Encoder {name!r} needs transformers: pip install 'napari-mtlpath[transformers]'."
        ) from error
    try:
        with hub_errors(model):
            config = AutoConfig.from_pretrained(model, **source)
            if not pretrained:
                return AutoModel.from_config(config, trust_remote_code=source["trust_remote_code"])
            return AutoModel.from_pretrained(model, config=config, use_safetensors=True, **source)
    except ValueError as error:
        if "trust_remote_code" in str(error):
            raise ValueError(
                f"Encoder {name!r}: {model!r} runs Python code of its own. Read that code, then write a card with "
                "trust_remote_code = true and revision = '<commit>'."
            ) from error
        raise ValueError(f"Encoder {name!r}: transformers cannot build {model!r}: {error}") from error


def _preprocessing(model: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return tile_px, mean and std as the model's own preprocessing file states them, where they are needed."""
    if {"tile_px", "mean", "std"} <= set(options):
        return {}
    path = Path(model) / "preprocessor_config.json"
    if not Path(model).is_dir():
        path = hub_file(model, "preprocessor_config.json")
    if not path.is_file():
        return {}
    stated = json.loads(path.read_text(encoding="utf-8"))
    size = stated.get("crop_size") if stated.get("do_center_crop") else stated.get("size")
    side = size.get("height", size.get("shortest_edge")) if isinstance(size, dict) else size
    found = {"tile_px": side, "mean": stated.get("image_mean"), "std": stated.get("image_std")}
    return {key: value for key, value in found.items() if value is not None}

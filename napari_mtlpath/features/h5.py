"""Feature files of a slide as the field exchanges them: STAMP's layout written, those of TRIDENT and CLAM read too."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from napari_mtlpath.files import replacing
from napari_mtlpath.units import Microns, TilePixels

HISTORIC_STRIDE_PX = 224
HISTORIC_TILE_UM = 256.0  # the first STAMP wrote pixels of 256 um tiles at 224 px, without saying so


class FeatureLayout(StrEnum):
    """Which program's layout a feature file has."""

    STAMP = "stamp"
    TRIDENT = "trident"
    CLAM = "clam"


class LengthUnit(StrEnum):
    """What coordinates are counted in: microns, or pixels of the slide's level 0."""

    MICRONS = "um"
    SLIDE_PIXELS = "px"


@dataclass(frozen=True, kw_only=True, eq=False)
class FeatureFile:
    """The embeddings of one slide as a file holds them.

    Attributes
    ----------
    features
        [tile, feature], float32.
    coords
        Upper left corners of the tiles, [tile, 2] as (y, x), in `unit`.
    unit
        What `coords` and `tile_side` are counted in.
    tile_side
        Side of a tile in `unit`; None where the file does not say.
    tile_px
        Side of a tile in pixels as the encoder got it; None where the file does not say.
    extractor
        What made the embeddings, in the file's own words; may be empty.
    layout
        Whose layout the file has.
    """

    features: NDArray[np.float32]
    coords: NDArray[np.float64]
    unit: LengthUnit
    tile_side: float | None
    tile_px: int | None
    extractor: str
    layout: FeatureLayout


def write_features(
    path: Path,
    features: NDArray[np.floating],
    coords_um: NDArray[np.floating],
    *,
    extractor: str,
    tile_um: Microns,
    tile_px: TilePixels,
    attributes: Mapping[str, str | int | float] | None = None,
) -> None:
    """Write the embeddings of a slide so that STAMP reads them; the file appears whole or not at all.

    Parameters
    ----------
    path
        The ``.h5`` file; replaced where it is there.
    features
        [tile, feature]; kept as float32.
    coords_um
        Upper left corners of the tiles in microns, [tile, 2] as (y, x); stored as (x, y), as STAMP has it.
    extractor
        Name of the encoder with something that changes when its weights do.
    tile_um, tile_px
        Side of a tile on the glass, and as the encoder gets it.
    attributes
        More attributes of the file.

    Raises
    ------
    ValueError
        If shapes disagree or a value is not finite.
    """
    vectors, corners = np.asarray(features, dtype=np.float32), np.asarray(coords_um, dtype=np.float64)
    _check(vectors, corners, what=path.name)
    with replacing(path) as temporary, h5py.File(temporary, "w") as file:
        file["feats"] = vectors
        file["coords"] = corners[:, ::-1].astype(np.float32)
        file.attrs.update(attributes or {})
        file.attrs.update(
            {
                "extractor": extractor,
                "unit": LengthUnit.MICRONS.value,
                "tile_size_um": float(tile_um),
                "tile_size_px": int(tile_px),
                "feat_type": "tile",
            }
        )


def read_features(path: Path) -> FeatureFile:
    """Read a feature file of STAMP, TRIDENT or CLAM.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is none of the three, is damaged, or holds values that are not finite.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no feature file {path}.")
    try:
        with h5py.File(path, "r") as file:
            name = next((name for name in ("feats", "features") if isinstance(file.get(name), h5py.Dataset)), None)
            if name is None or not isinstance(file.get("coords"), h5py.Dataset):
                raise ValueError(
                    f"{path.name} is not a feature file: expected the datasets 'feats' (or 'features') and 'coords'; "
                    f"found {', '.join(sorted(file)) or 'none'}."
                )
            vectors, corners = _numbers(file[name]).astype(np.float32), _numbers(file["coords"]).astype(np.float64)
            # TRIDENT keeps its attributes at the coordinates, STAMP at the file.
            found = {**dict(file[name].attrs), **dict(file["coords"].attrs), **dict(file.attrs)}
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{path.name} cannot be read as HDF5: the file is damaged or of another kind.") from error
    vectors = vectors[0] if vectors.ndim == 3 and len(vectors) == 1 else vectors
    _check(vectors, corners, what=path.name)
    if name == "feats":
        return _stamp(vectors, corners[:, ::-1], found)
    return _pixel_file(vectors, corners[:, ::-1], found)


def _stamp(features: NDArray[np.float32], coords: NDArray[np.float64], found: Mapping[str, Any]) -> FeatureFile:
    side = _number(found, "tile_size_um") or _number(found, "tile_size")
    unit = LengthUnit.MICRONS if found.get("unit") == "um" else LengthUnit.SLIDE_PIXELS
    tile_px = _number(found, "tile_size_px")
    if unit is LengthUnit.SLIDE_PIXELS and round(side or _stride(coords)) == HISTORIC_STRIDE_PX:
        coords = coords / HISTORIC_STRIDE_PX * HISTORIC_TILE_UM
        unit, side, tile_px = LengthUnit.MICRONS, HISTORIC_TILE_UM, float(HISTORIC_STRIDE_PX)
    return FeatureFile(
        features=features,
        coords=coords,
        unit=unit,
        tile_side=side,
        tile_px=int(tile_px) if tile_px else None,
        extractor=_text(found, "extractor"),
        layout=FeatureLayout.STAMP,
    )


def _pixel_file(features: NDArray[np.float32], coords: NDArray[np.float64], found: Mapping[str, Any]) -> FeatureFile:
    side = _number(found, "patch_size_level0")
    tile_px = _number(found, "patch_size")
    return FeatureFile(
        features=features,
        coords=coords,
        unit=LengthUnit.SLIDE_PIXELS,
        tile_side=side,
        tile_px=int(tile_px) if tile_px else None,
        extractor=_text(found, "encoder"),
        layout=FeatureLayout.CLAM if side is None else FeatureLayout.TRIDENT,
    )


def _numbers(dataset: h5py.Dataset) -> NDArray[Any]:
    if dataset.dtype.kind not in "iuf":
        raise ValueError(f"Dataset {dataset.name} must hold numbers; found {dataset.dtype}. Extract the features anew.")
    return np.asarray(dataset[()])


def _check(features: NDArray[np.floating], coords: NDArray[np.floating], *, what: str) -> None:
    if features.ndim != 2 or coords.ndim != 2 or coords.shape[1] != 2 or len(features) != len(coords):
        raise ValueError(
            f"{what}: expected features [tile, feature] and coordinates [tile, 2]; "
            f"found {list(features.shape)} and {list(coords.shape)}."
        )
    if not (np.isfinite(features).all() and np.isfinite(coords).all()):
        raise ValueError(f"{what}: features and coordinates must be finite; found NaN or infinity.")


def _stride(coords: NDArray[np.float64]) -> float:
    """Return the least distance between columns or rows of tiles, 0 for a single tile."""
    steps = [np.diff(np.unique(coords[:, axis])) for axis in (0, 1)]
    return float(min((step.min() for step in steps if len(step) > 0), default=0.0))


def _number(found: Mapping[str, Any], name: str) -> float | None:
    value = np.asarray(found.get(name, math.nan))
    if value.size != 1 or value.dtype.kind not in "iuf":
        return None
    number = float(value.reshape(-1)[0])
    return number if math.isfinite(number) and number > 0 else None


def _text(found: Mapping[str, Any], name: str) -> str:
    value = found.get(name, "")
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)

"""Feature files of a cohort, read when they are needed and kept in memory up to a limit."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from napari_mtlpath.features.h5 import FeatureFile, LengthUnit, read_features
from napari_mtlpath.tables.feature_files import feature_file

MOST_FAULTS = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class SlideTiles:
    """Where the tiles of one slide lie on it.

    Attributes
    ----------
    slide
        Its name in the table.
    centres
        Of the tiles as (y, x), in `unit`, from the slide's upper left corner. [tile, 2].
    unit
        Microns, or pixels of level 0.
    side
        Of a tile in `unit`; None where the file does not say.
    """

    slide: str
    centres: Float[Tensor, "tile 2"]
    unit: LengthUnit
    side: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class TileFeatures:
    """Embeddings of the tiles of a slide, or of several slides one after the other.

    Attributes
    ----------
    features
        [tile, feature].
    coordinates
        Centres of the tiles as (y, x), in microns where the files know them, else in the files' unit; slides lie below
        each other. [tile, 2].
    slides
        Where the tiles lie, slide by slide, in the order of the features.
    """

    features: Float[Tensor, "tile feature"]
    coordinates: Float[Tensor, "tile 2"]
    slides: tuple[SlideTiles, ...]

    @property
    def bytes(self) -> int:
        """Memory that it takes."""
        return sum(part.numel() * part.element_size() for part in (self.features, self.coordinates))


class FeatureFiles:
    """Reads the feature files of a folder; those used last stay in memory until `most_bytes` are full.

    Parameters
    ----------
    folder
        Holds a file ``<slide>.h5`` per slide.
    features
        Length that every embedding must have.
    most_bytes
        Memory for what was read; a file larger than that is read each time.

    Attributes
    ----------
    good
        Slides whose file was read without a fault.
    """

    def __init__(self, folder: Path, *, features: int, most_bytes: int) -> None:
        self.folder = folder
        self.features = features
        self.most_bytes = most_bytes
        self.good: set[str] = set()
        self._kept: OrderedDict[str, TileFeatures] = OrderedDict()
        self._bytes = 0

    @property
    def kept_bytes(self) -> int:
        """Memory that the kept files take now."""
        return self._bytes

    def read(self, names: Sequence[str]) -> TileFeatures:
        """Return the tiles of one or several slides.

        Raises
        ------
        FileNotFoundError, ValueError
            If a file is missing, is no feature file, or holds embeddings of another length.
        """
        parts = [self._slide(name) for name in names]
        if len(parts) == 1:
            return parts[0]
        below, coordinates = 0.0, []
        for part in parts:
            shift = torch.tensor([below - float(part.coordinates[:, 0].min()), 0.0])
            coordinates.append(part.coordinates + shift)
            below = float(coordinates[-1][:, 0].max()) + 1.0
        return TileFeatures(
            features=torch.cat([part.features for part in parts]),
            coordinates=torch.cat(coordinates),
            slides=tuple(slide for part in parts for slide in part.slides),
        )

    def check(self, names: Iterable[str]) -> None:
        """Read the files of slides that nobody has read yet.

        Raises
        ------
        ValueError
            With every file that is missing, damaged, of another length, or holds values that are not finite.
        """
        faults = []
        for name in names:
            if name not in self.good:
                try:
                    self._slide(name)
                except (ValueError, OSError) as error:
                    faults.append(str(error))
        if faults:
            more = f" And {len(faults) - MOST_FAULTS} more." if len(faults) > MOST_FAULTS else ""
            raise ValueError(f"{len(faults)} feature files cannot be used. {' '.join(faults[:MOST_FAULTS])}{more}")

    def _slide(self, name: str) -> TileFeatures:
        if name in self._kept:
            self._kept.move_to_end(name)
            return self._kept[name]
        path = feature_file(self.folder, name)
        if path is None:
            raise FileNotFoundError(f"Slide {name!r} has no feature file in {self.folder}. Extract it first.")
        slide = _tiles(name, read_features(path))
        if slide.features.shape[1] != self.features:
            raise ValueError(
                f"{path.name} holds embeddings of length {slide.features.shape[1]}; expected {self.features}. "
                "Name the encoder that made the files."
            )
        self.good.add(name)
        if slide.bytes <= self.most_bytes:
            self._kept[name] = slide
            self._bytes += slide.bytes
            while self._bytes > self.most_bytes:
                self._bytes -= self._kept.popitem(last=False)[1].bytes
        return slide


def _tiles(name: str, file: FeatureFile) -> TileFeatures:
    centres = torch.from_numpy(file.coords + (file.tile_side or 0.0) / 2).float()
    place = SlideTiles(slide=name, centres=centres, unit=file.unit, side=file.tile_side)
    return TileFeatures(features=torch.from_numpy(file.features), coordinates=centres, slides=(place,))


def tile_microns(file: FeatureFile) -> float | None:
    """Return the side of a file's tiles in microns, or None where it does not say."""
    return file.tile_side if file.unit is LengthUnit.MICRONS else None

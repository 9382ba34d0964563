"""Bags of neighbouring crops of stain-separated sections, labelled by the shares of the whole region."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float
from sklearn.linear_model import Ridge
from torch import Tensor

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.training.bags.bags import Answer, Bag, BagSource, CardMetrics
from napari_mtlpath.training.config.data import StainedBags
from napari_mtlpath.training.evaluation import estimate, mean_error, r2
from napari_mtlpath.training.stains.stained_tiles import TRAIN_SHARE, TileField, spatial_sides, tile_fields
from napari_mtlpath.training.stains.stains import STAIN_TASKS, StainedImage
from napari_mtlpath.units import Microns

STEPS = 4
"""Grids per section and axis: offsets of a quarter of a tile, so that no model learns one phase of the grid."""

SELECTION_BAGS = 60
TEST_BAGS = 150
BATCH = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class _EmbeddedField:
    features: Float[Tensor, "tile feature"]
    colours: Float[Tensor, "tile 3"]
    labels: Float[Tensor, "tile task"]
    rows: int
    columns: int


class StainedBagSource(BagSource):
    """Regions of 1 x 1 to the whole part's tiles; labels are means of the tiles' shares.

    Training regions lie in the upper part of each section. Those of selection lie in the lower left, those of the final
    figures in the lower right, with gaps in between.
    """

    tasks = STAIN_TASKS
    slide_labels_only = False

    def __init__(self, table: StainedBags, sections: Sequence[StainedImage], encoder: Encoder) -> None:
        self.table = table
        self.encoder = encoder
        side = int(encoder.tile_px)
        self.spec = TileSpec(tile_um=Microns(table.tile_um), tile_px=encoder.tile_px)
        self.bags_per_epoch = table.bags_per_epoch
        sides = spatial_sides(sections, gap_px=side)
        offsets = [(y * side // STEPS, x * side // STEPS) for y in range(STEPS) for x in range(STEPS)]
        halves = [_halves(section, gap_px=side) for section in sides.validation]
        self.fields = {
            "train": self._embedded(sides.train, offsets),
            "selection": self._embedded([left for left, _ in halves], offsets[::5]),
            "test": self._embedded([right for _, right in halves], offsets[::5]),
        }
        self.facts = {
            "data": f"regions of {', '.join(section.name for section in sections)}, tiles of {side} px",
            "training_regions": f"{table.bags_per_epoch} per epoch, drawn anew, in the upper {TRAIN_SHARE:.0%} of each",
            "test_regions": f"{TEST_BAGS}, in the lower right of each; the best epoch was chosen on the lower left",
            "labels": "stain separation (pixels above Otsu's threshold), no pathologist; of regions and tiles",
        }

    def train(self, epoch: int, generator: torch.Generator) -> Iterator[Bag]:
        """Yield regions drawn anew."""
        random = np.random.default_rng(int(torch.randint(2**31, (1,), generator=generator)))
        for number in range(self.bags_per_epoch):
            yield self._draw("train", number, random)

    def selection(self) -> Sequence[Bag]:
        """Return regions of the lower left."""
        return self._selection

    def figures(self, answer: Answer) -> CardMetrics:
        """Return error and R2 of the regions' shares and of the tiles', beside the mean and a fit on mean colour."""
        random = np.random.default_rng(1)
        drawn = [self._region("test", number, random) for number in range(TEST_BAGS)]
        outputs = [answer(_bag(field, tiles)) for field, tiles in drawn]
        metrics: CardMetrics = {}
        for column, task in enumerate(self.tasks):
            truth = np.array([float(field.labels[tiles, column].mean()) for field, tiles in drawn])
            said = np.array([float(output.tasks[task.name].logits[0]) for output in outputs])
            trivial = np.array(
                [self._colour_fit.predict(field.colours[tiles].mean(0)[None])[0, column] for field, tiles in drawn]
            )
            metrics[f"{task.name} of a region"] = _rows(truth, said, trivial)
        fields = self._all("test")
        answers = [answer(_bag(field)) for field in fields]
        for column, task in enumerate(self.tasks):
            truth = torch.cat([field.labels[:, column] for field in fields]).double().numpy()
            trivial = np.concatenate([self._colour_fit.predict(field.colours)[:, column] for field in fields])
            logits = [output.tasks[task.name].tile_logits for output in answers]
            given = [each[:, 0] for each in logits if each is not None]
            if len(given) == len(fields):
                metrics[f"{task.name} of a tile"] = _rows(truth, torch.cat(given).double().numpy(), trivial)
        return metrics

    def statistics(self) -> tuple[Float[Tensor, " feature"], Float[Tensor, " feature"]]:
        """Return mean and standard deviation over the training tiles."""
        features = torch.cat([field.features for field in self._all("train")])
        return features.mean(0), features.std(0)

    @cached_property
    def _selection(self) -> list[Bag]:
        random = np.random.default_rng(0)
        return [self._draw("selection", number, random) for number in range(SELECTION_BAGS)]

    @cached_property
    def _colour_fit(self) -> Ridge:
        fields = self._all("train")
        return Ridge().fit(torch.cat([f.colours for f in fields]), torch.cat([f.labels for f in fields]))

    def _draw(self, part: str, number: int, random: np.random.Generator) -> Bag:
        field, tiles = self._region(part, number, random)
        return _bag(field, tiles)

    def _region(self, part: str, number: int, random: np.random.Generator) -> tuple[_EmbeddedField, Tensor]:
        """Return a random rectangle of tiles; sections take turns, small and large regions are equally likely."""
        sections = self.fields[part]
        grids = sections[number % len(sections)]
        field = grids[int(random.integers(len(grids)))]
        rows, columns = (max(1, round(size ** random.uniform())) for size in (field.rows, field.columns))
        top, left = random.integers(field.rows - rows + 1), random.integers(field.columns - columns + 1)
        grid = torch.arange(field.rows * field.columns).view(field.rows, field.columns)
        return field, grid[top : top + rows, left : left + columns].flatten()

    def _all(self, part: str) -> list[_EmbeddedField]:
        return [field for grids in self.fields[part] for field in grids]

    def _embedded(
        self, sections: Sequence[StainedImage], offsets: Sequence[tuple[int, int]]
    ) -> list[list[_EmbeddedField]]:
        side = int(self.encoder.tile_px)
        return [
            [self._embed(field) for field in tile_fields(section, side=side, offsets=offsets)] for section in sections
        ]

    def _embed(self, field: TileField) -> _EmbeddedField:
        with torch.inference_mode():
            tiles = torch.from_numpy(field.tiles)
            features = torch.cat([self.encoder.embed(piece) for piece in torch.split(tiles, BATCH)])
        return _EmbeddedField(
            features=features.clone(),
            colours=tiles.float().mean((1, 2)) / 255,
            labels=torch.from_numpy(field.labels),
            rows=field.rows,
            columns=field.columns,
        )


def _bag(field: _EmbeddedField, tiles: Tensor | None = None) -> Bag:
    """Return some tiles of a field as a bag, or all."""
    chosen = torch.arange(len(field.features)) if tiles is None else tiles
    labels = field.labels[chosen]
    return Bag(features=field.features[chosen], labels=labels.mean(0), tile_labels=labels)


def _halves(section: StainedImage, *, gap_px: int) -> tuple[StainedImage, StainedImage]:
    """Split a part by columns, with a gap."""
    middle = section.pixels.shape[1] // 2
    return section.part(columns=slice(0, middle)), section.part(columns=slice(middle + gap_px, None))


def _rows(truth: np.ndarray, said: np.ndarray, trivial: np.ndarray) -> dict[str, float | str]:
    """Return error (floor: the mean of the truth) and R2 (floor: a linear fit on mean colour)."""
    mean = np.full_like(truth, truth.mean())
    error = estimate(mean_error, truth, said).row("mean_absolute_error", floor=mean_error(truth, mean))
    return error | estimate(r2, truth, said).row("r2", floor=r2(truth, trivial))

"""Pre-training of a tile encoder with labels of whole slides (SLAM-AGS), as a job of the training loop."""

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from napari_mtlpath.encoders.cards import EncoderCard
from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import FAMILIES, build_encoder, find_encoder_card
from napari_mtlpath.encoders.tile_network import NetworkEncoder
from napari_mtlpath.training.config.slide_aware import SlideAwareConfig
from napari_mtlpath.training.loop.averaging import round_to_float16
from napari_mtlpath.training.loop.job import Job, Validation
from napari_mtlpath.training.slide_aware.collapse import CollapseMonitor
from napari_mtlpath.training.slide_aware.draws import Draw, four_views, held_out_draw
from napari_mtlpath.training.slide_aware.figures import card_figures, held_out_metrics
from napari_mtlpath.training.slide_aware.network import SlideAwareNetwork
from napari_mtlpath.training.slide_aware.objective import CONTRASTIVE, SIMILARITY, Objective
from napari_mtlpath.training.slide_aware.projections import Projections
from napari_mtlpath.training.slide_aware.publish import publish_slide_aware
from napari_mtlpath.training.slide_aware.slide_tiles import SlideTilesData
from napari_mtlpath.training.slide_aware.views import views_of
from napari_mtlpath.training.slide_aware.visits import steps_of, visits


class SlideAwareJob(Job):
    """Trains a :class:`SlideAwareNetwork` on tiles of slide-negative and slide-positive slides.

    The four views of a step (negative tiles: the middle as it is, and a changed one; positive tiles: two changed ones)
    pass the network in one batch, so that batch normalisation sees one mixture: statistics taken apart would tell the
    network which side a tile is from. Every tile is seen exactly once per epoch. A batch cannot be divided: its tiles
    are told apart from each other.

    Parameters
    ----------
    config
        What is learned and how.
    data
        The tiles.
    device
        Where to train.

    Raises
    ------
    ValueError
        If the network cannot take the views, or a batch is too small to tell tiles apart.
    """

    module: SlideAwareNetwork

    def __init__(self, config: SlideAwareConfig, data: SlideTilesData, *, device: torch.device) -> None:
        self.config = config
        self.data = data
        self.device = device
        self.objective = config.objective.kind
        self.views = views_of(config.views, tile_px=int(data.spec.tile_px))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.start, self.start_card = _start(config, data)
            monitor = CollapseMonitor(least_spread=config.collapse.least_spread, patience=config.collapse.patience)
            self.module = SlideAwareNetwork(
                self.start.module.requires_grad_(True),
                features=self.start.features,
                width=config.objective.width,
                monitor=monitor,
            ).to(device)
        _check_views(self.module, self.views.side, device)
        negative, positive = (len(tiles.rows) for tiles in (data.train.negative, data.train.positive))
        self.steps_per_epoch = steps_of(negative, positive, batch=config.optimisation.batch)
        self._check_batch(negative, positive)
        self._judged = held_out_draw(data.held_out)

    @property
    def task_names(self) -> tuple[str, ...]:
        """Names of the losses."""
        return self.objective.losses

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[Draw]:
        """Yield which tiles each step sees, every tile once; they are read when their losses are computed."""
        sides = self.data.train
        counts = len(sides.negative.rows), len(sides.positive.rows)
        for visit in visits(*counts, steps=self.steps_per_epoch, generator=generator):
            yield Draw(sides=sides, visit=visit)

    def batch_losses(self, batch: Draw) -> dict[str, Tensor]:
        """Return the losses of the objective, in units of 1 / temperature."""
        projections = self.project(batch)
        if self.module.training and torch.is_grad_enabled():
            first, second = projections.both
            self.module.monitor.watch(torch.cat([first, second]))
        return self._losses(projections)

    def project(self, batch: Draw) -> Projections:
        """Read the tiles of a step, make their views and pass all of them through the network together."""
        made = four_views(batch, self.views, plain=self.objective is not Objective.CONTRASTIVE)
        sizes = [len(views) for views in (*made.negative, *made.positive)]
        parts = torch.split(self.module(made.together.to(self.device)), sizes)
        return Projections(negative=(parts[0], parts[1]), positive=(parts[2], parts[3]))

    def label_counts(self, batch: Draw) -> dict[str, int]:
        """Return how many tiles each loss is over."""
        negative, positive = len(batch.visit.negative), len(batch.visit.positive)
        both = self.objective is Objective.CONTRASTIVE
        counts = {SIMILARITY: negative, CONTRASTIVE: negative + positive if both else positive}
        return {name: counts[name] for name in self.task_names}

    def validation_batch(self, generator: torch.Generator) -> Draw:
        """Draw a batch of held-out tiles, mixed as the batches of training are."""
        sides = self.data.held_out
        counts = len(sides.negative.rows), len(sides.positive.rows)
        steps = min(steps_of(*counts, batch=self.config.optimisation.batch), min(counts) // 2)
        return Draw(sides=sides, visit=next(visits(*counts, steps=max(1, steps), generator=generator)))

    def warnings(self) -> list[str]:
        """Return what a person should know before training starts."""
        said = list(self.data.notes)
        if self.objective is Objective.SIMILARITY:
            said.append(
                "Similarity alone has its optimum where all embeddings are one: this is for comparison, and training "
                "stops when they are."
            )
        return said

    def validate(self) -> Validation:
        """Judge by how well the two views of held-out tiles of positive slides find each other."""
        metrics = self._held_out_metrics()
        scores = {CONTRASTIVE: metrics["told_apart"], SIMILARITY: -metrics.get(SIMILARITY, 0.0)}
        return Validation(
            score=metrics["told_apart"],
            metrics=metrics,
            scores={name: scores[name] for name in self.task_names},
        )

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the encoder's folder, with figures measured on its float16 weights."""
        round_to_float16(self.module)
        self.module.eval()
        return publish_slide_aware(
            folder,
            config=self.config,
            data=self.data,
            start=self.start,
            start_card=self.start_card,
            module=self.module,
            metrics=card_figures(self.data, self.views, self.embed),
            facts=facts,
        )

    def embed(self, tiles: UInt8[Tensor, "tile y x 3"]) -> Float[Tensor, "tile feature"]:
        """Return what the released encoder gives for whole tiles."""
        features: Tensor = self.module.network(tiles.to(self.device))
        return self.module.projector(features) if self.config.encoder.features == "projector" else features

    @torch.inference_mode()
    def _held_out_metrics(self) -> dict[str, float]:
        projections = self.project(self._judged)
        return held_out_metrics(projections, self._losses(projections))

    def _losses(self, projections: Projections) -> dict[str, Tensor]:
        table = self.config.objective
        return projections.losses(
            self.objective, temperature=table.temperature, similarity_temperature=table.similarity_temperature
        )

    def _check_batch(self, negative: int, positive: int) -> None:
        fewest = min(negative, positive) // self.steps_per_epoch
        if fewest < 2:
            side = "positive" if positive < negative else "negative"
            raise ValueError(
                f"Expected at least two tiles of slide-{side} slides in every step; {min(negative, positive)} tiles "
                f"over {self.steps_per_epoch} steps give fewer. Raise optimisation.batch."
            )


def _start(config: SlideAwareConfig, data: SlideTilesData) -> tuple[Encoder, EncoderCard | None]:
    """Return the network that learns as an encoder, and the card it was built from if it starts from another one."""
    table, tile_px = config.encoder, int(data.spec.tile_px)
    card = find_encoder_card(table.start_from) if table.start_from else None
    if card is not None:
        encoder = build_encoder(card)
    else:
        options = {"tile_px": tile_px, **table.options}
        encoder = FAMILIES.load(table.family).build(name=config.name, options=options, state=None)
    if int(encoder.tile_px) != tile_px:
        raise ValueError(
            f"Expected an encoder for tiles of {tile_px} px, as the data have them; found one for "
            f"{int(encoder.tile_px)} px. Choose another encoder, or other tiles."
        )
    if not isinstance(encoder, NetworkEncoder):
        raise ValueError(f"Expected an encoder with a network that can learn; found {encoder.name!r}, which has none.")
    return encoder, card


def _check_views(module: SlideAwareNetwork, side: int, device: torch.device) -> None:
    probe = torch.zeros(1, side, side, 3, dtype=torch.uint8, device=device)
    try:
        with torch.inference_mode():
            module.eval()(probe)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise ValueError(
            f"The network does not take views of {side} px, only whole tiles. Set views.crop = 1.0. "
            f"({str(error).splitlines()[0]})"
        ) from error

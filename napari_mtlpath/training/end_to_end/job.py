"""Training of an aggregator and its tile encoder on the tiles of labelled bags."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import find_encoder_card
from napari_mtlpath.training.bags.bags import Bag, BagSource
from napari_mtlpath.training.bags.bags_job import BagsJob
from napari_mtlpath.training.bags.run_predictions import RunName
from napari_mtlpath.training.config.train_config import BagsConfig
from napari_mtlpath.training.distillation import Teacher
from napari_mtlpath.training.end_to_end.blocks import learning_parameters
from napari_mtlpath.training.end_to_end.encoding import FreshFeatures, learned_features
from napari_mtlpath.training.end_to_end.module import EncoderAndAggregator
from napari_mtlpath.training.end_to_end.publish import publish_trained_encoder
from napari_mtlpath.training.end_to_end.tiles import BagTiles
from napari_mtlpath.training.loop.job import Validation

LEAST_COSINE = 0.99
"""Between a tile's embedding and the one that came with the bag; less means other tiles or another encoder."""

CHECKED_TILES = 4


class EndToEndJob(BagsJob):
    """Trains aggregator and encoder together, from tiles.

    A step embeds some of a bag's tiles with a graph (`encoder_training.tiles`) and the aggregator reads all of the
    bag's tiles; the gradient of the loss with respect to the chosen embeddings goes on into the encoder. It is the part
    of the whole gradient that these tiles carry, not scaled up. The standardisation of the features stays that of the
    starting encoder. Validation and figures are of the encoder as it is then, on all tiles.

    Parameters
    ----------
    config
        With an ``[encoder_training]`` table.
    source
        Where bags come from; they must know their tiles.
    device
        Where to train.
    teacher, name
        As for :class:`napari_mtlpath.training.bags.bags_job.BagsJob`; a teacher answers features of the starting
        encoder.

    Raises
    ------
    ValueError
        If the bags have no tiles, the tiles are not those that the features were made from, the encoder cannot learn
        as asked, or the balancing method looks ahead.
    """

    module: EncoderAndAggregator

    def __init__(
        self,
        config: BagsConfig,
        source: BagSource,
        *,
        device: torch.device,
        teacher: Teacher | None = None,
        name: RunName | None = None,
    ) -> None:
        super().__init__(config, source, device=device, teacher=teacher, name=name)
        assert config.encoder_training is not None
        self.table = config.encoder_training
        self._check_source()
        network = deepcopy(source.encoder.module).to(device)
        learning = learning_parameters(network, self.table.blocks)
        self.module = EncoderAndAggregator(network, self.aggregator, learning=learning)
        if config.balancing.balancer(self.task_names).losses.needs_virtual_step:
            raise ValueError(
                f"balancing.method = {config.balancing.method!r} looks one step ahead at one learning rate; the "
                "encoder has its own. Choose another method, or leave [encoder_training] out."
            )
        self._fresh = self._fresh_features()

    def batches(self, epoch: int, generator: torch.Generator) -> Iterator[list[Bag]]:
        """Yield batches of bags, each with the tiles that the encoder learns from drawn anew."""
        for batch in super().batches(epoch, generator):
            yield [replace(bag, tiles=_tiles(bag).learning_from(self.table.tiles, generator)) for bag in batch]

    def learned_features(self, bag: Bag) -> Float[Tensor, "tile feature"]:
        """Return the bag's embeddings, those of the chosen tiles with a graph to the encoder."""
        tiles = _tiles(bag)
        if tiles.learned is None:
            return learned_features(self.module.network, tiles, piece=self.table.piece)
        places = tiles.learned.to(self.device)
        learned = learned_features(self.module.network, tiles.only(tiles.learned), piece=self.table.piece)
        if self.table.others == "before":
            others = bag.features.to(self.device)
        else:
            is_other = torch.ones(len(tiles.rows), dtype=torch.bool)
            is_other[tiles.learned] = False
            others = learned.new_zeros(len(tiles.rows), learned.shape[1])
            others[is_other.to(self.device)] = self._fresh_features().of(tiles.only(torch.nonzero(is_other).flatten()))
        return others.index_put((places,), learned)

    def judged_features(self, bag: Bag) -> Float[Tensor, "tile feature"]:
        """Return the bag's embeddings by the encoder as it is now."""
        return self._fresh.of(_tiles(bag))

    def rate_factors(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return the encoder's parameters with what their learning rate is of the aggregator's."""
        factor = self.table.learning_rate / self.config.optimisation.learning_rate
        return [(factor, self.module.encoder_parameters())]

    def validate(self) -> Validation:
        """Judge encoder and aggregator as they are now; see :class:`napari_mtlpath.training.bags.bags_job.BagsJob`."""
        self._fresh = self._fresh_features()
        return super().validate()

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Write the model's folder, the trained encoder within it."""
        self._fresh = self._fresh_features()
        return super().publish(folder, facts=facts)

    def publish_encoder(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Encoder:
        """Write the trained encoder into the model's folder and return it as it will be loaded."""
        return publish_trained_encoder(
            folder,
            config=self.config,
            start=find_encoder_card(self.config.encoder),
            start_digest=self.source.encoder.digest,
            network=self.module.network,
            spec=self.source.spec,
            facts=facts,
        )

    def warnings(self) -> list[str]:
        """Return what a person should know before training starts."""
        said = super().warnings()
        if self.table.others == "before":
            said.append(
                "The tiles that no gradient goes through keep the embeddings of the encoder before this training; "
                "validation embeds all tiles anew."
            )
        return said

    def _fresh_features(self) -> FreshFeatures:
        return FreshFeatures(self.module.network, piece=self.table.piece)

    def _check_source(self) -> None:
        """See that there are tiles, and that the features came from them."""
        bag = self.source.selection()[0]
        if bag.tiles is None:
            raise ValueError(
                f"[encoder_training] needs the tiles themselves; data of source {self.config.data.source!r} "
                f"{'names no slide_files' if self.config.data.source == 'cohort' else 'has none'}. Give "
                "data.slide_files, the folder of the slides; use source 'smears'; or leave the table out."
            )
        few = torch.linspace(0, len(bag.features) - 1, min(CHECKED_TILES, len(bag.features))).long()
        encoder = self.source.encoder
        place = next(iter(encoder.module.parameters()), torch.empty(0)).device
        with torch.inference_mode():
            pixels = bag.tiles.pool.read(bag.tiles.rows[few])
            found = encoder.embed(pixels.to(place)).cpu()
        cosine = float(nn.functional.cosine_similarity(found, bag.features[few].cpu()).min())
        if not cosine >= LEAST_COSINE:
            raise ValueError(
                f"The features of {bag.name or 'the bags'} are not those of its tiles by encoder {encoder.name!r}: "
                f"expected a cosine of 1, found {cosine:.3f}. Extract the features anew from these slides."
            )


def bags_job(
    config: BagsConfig,
    source: BagSource,
    *,
    device: torch.device,
    teacher: Teacher | None = None,
    name: RunName | None = None,
) -> BagsJob:
    """Return the job of a config: on features, or on tiles where it has an ``[encoder_training]`` table."""
    kind = BagsJob if config.encoder_training is None else EndToEndJob
    return kind(config, source, device=device, teacher=teacher, name=name)


def _tiles(bag: Bag) -> BagTiles:
    if bag.tiles is None:
        raise ValueError(f"Bag {bag.name!r} has no tiles to learn from. Give data.slide_files.")
    return bag.tiles

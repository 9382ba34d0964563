"""The training of lessons in which the tile encoder's last blocks learn, too, from the tiles' pixels."""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from napari_mtlpath.training.end_to_end.encoding import FreshFeatures, learned_features
from napari_mtlpath.training.teaching.chosen_tiles import chosen_tiles
from napari_mtlpath.training.teaching.composed_bags import ComposedBag
from napari_mtlpath.training.teaching.job import Look, TeachJob
from napari_mtlpath.training.teaching.learning_encoder import LearningWithEncoder
from napari_mtlpath.training.teaching.lesson import TaughtBag
from napari_mtlpath.weights import as_stored

PIECE = 16
"""Tiles that pass the encoder at a time: bounds the memory."""


class EncoderTeachJob(TeachJob):
    """Teaches tasks and the encoder that they read.

    Every tile of a step's bags goes through the encoder as it is then, and the gradient goes back into its last blocks,
    piece by piece (see :func:`napari_mtlpath.training.end_to_end.encoding.learned_features`). The teacher of the old
    tasks answers for the embeddings of before. All bags must know their tiles' pixels.
    """

    module: LearningWithEncoder

    def features(self, bag: ComposedBag) -> Tensor:
        """Return the embeddings of a bag's tiles by the encoder as it is now."""
        assert bag.tiles is not None  # checked before the first step
        if torch.is_grad_enabled():
            return learned_features(self.module.network, bag.tiles, piece=PIECE)
        return self._fresh.of(bag.tiles)

    def rate_factors(self) -> Sequence[tuple[float, Sequence[nn.Parameter]]]:
        """Return the encoder's parameters with what their learning rate is of the others'."""
        factor = self.config.encoder_learning_rate / self.config.learning_rate
        return [(factor, self.module.encoder_parameters())]

    def judge(self, *, preview: bool) -> Look:
        """Look at the held-out labels with encoder and weights as they are now."""
        self._look_afresh()
        return super().judge(preview=preview)

    def figures(self) -> dict[str, dict[str, float | str]]:
        """Return the card's figures; see :class:`napari_mtlpath.training.teaching.job.TeachJob`."""
        self._look_afresh()
        return super().figures()

    def publish(self, folder: Path, *, facts: Mapping[str, str | int | float]) -> Path:
        """Take the weights as they will be stored, the whole encoder's among them. Nothing is written."""
        super().publish(folder, facts=facts)
        self.module.network.load_state_dict(as_stored(self.module.network.state_dict()))
        return folder

    def seen_anew(self, bags: Sequence[TaughtBag]) -> Generator[None, None, tuple[TaughtBag, ...]]:
        """Yield after each piece; return the bags with their embeddings by the encoder as it is now."""
        seen = []
        for bag in bags:
            parts = []
            for features in self._pieces(bag):
                parts.append(features)
                yield
            seen.append(replace(bag, features=np.concatenate(parts)))
        return tuple(seen)

    def _pieces(self, bag: TaughtBag) -> Iterator[np.ndarray]:
        for start in range(0, len(bag.features), PIECE):
            tiles = chosen_tiles(bag, np.arange(start, min(start + PIECE, len(bag.features))))
            assert tiles is not None
            with torch.no_grad():
                yield FreshFeatures(self.module.network, piece=PIECE).of(tiles).cpu().numpy()

    def _set_aside(self, epoch: int) -> None:
        self._look_afresh()
        super()._set_aside(epoch)

    def _look_afresh(self) -> None:
        """Embed all tiles anew when they are asked for: the weights are others than at the last look."""
        self._fresh = FreshFeatures(self.module.network, piece=PIECE)

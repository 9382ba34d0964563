"""The tile encoder that is taught: from the parent's files to a network, and from that to what a model carries."""

from torch import nn

from napari_mtlpath.encoders.encoder import Encoder
from napari_mtlpath.encoders.load import build_encoder
from napari_mtlpath.encoders.tile_network import NetworkEncoder
from napari_mtlpath.training.end_to_end.publish import trained_encoder_card
from napari_mtlpath.training.teaching.report import Taught
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.model import SlideModel
from napari_mtlpath.zoo.own_encoder import TrainedEncoder, encoder_card_of


def parents_encoder(parent: SlideModel) -> Encoder:
    """Return the encoder of a model anew from its files, in torch whatever computes it elsewhere.

    Raises
    ------
    ValueError
        If the model was never saved.
    """
    if parent.card.folder is None:
        raise ValueError(f"Model {parent.name!r} was never saved, so its encoder cannot be trained. Save it first.")
    return build_encoder(encoder_card_of(parent.card, parent.card.folder))


def encoder_with(parent: SlideModel, network: nn.Module) -> Encoder:
    """Return the parent's encoder with the weights of `network`, which stay its own."""
    again = parents_encoder(parent)
    assert isinstance(again, NetworkEncoder)  # no other has weights that learn
    again.module.load_state_dict(network.state_dict())
    return NetworkEncoder(
        name=again.name, module=again.module, tile_px=int(again.tile_px), description=again.description
    )


def carried_encoder(taught: Taught, card: ModelCard) -> TrainedEncoder | None:
    """Return what the saved model carries as its own encoder, or None where the parent's did not learn."""
    if taught.encoder is None:
        return None
    parent = taught.parent
    assert parent.card.folder is not None  # else there would be no encoder that learned
    start = encoder_card_of(parent.card, parent.card.folder)
    described = trained_encoder_card(
        start,
        model=card.name,
        title=card.title or card.name,
        which=f"its last {taught.config.encoder_blocks} block(s)",
        spec=card.tile,
        provenance={
            "started_from": start.name,
            "started_from_sha256": parent.card.encoder_sha256,
            "learning_rate": taught.config.encoder_learning_rate,
            "seed": taught.config.seed,
            "taught": ", ".join(lesson.task.name for lesson in taught.lessons),
        },
    )
    return TrainedEncoder(card=described, state=taught.encoder.module.state_dict())

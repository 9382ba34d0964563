"""The model of the pipeline benchmark, saved as users' models are: LeViT-128S with random weights, a small MECDS."""

from pathlib import Path

TILE_UM, TILE_PX, SIDE_PX = 512.0, 224, 1024
NETWORK = "levit_128s"
OPTIONS = {"width": 96, "heads": 4, "blocks": 1, "feedforward": 2, "expert_mixing": "mlp"}  # as models/ has them
ENCODER, MODEL = "levit-random", "pipeline"


def prepared_model(models: Path) -> Path:
    """Return the folder of the slide model below `models`, made now if it is not there yet."""
    folder = models / "slide-models" / MODEL
    if not folder.is_dir():
        _prepare(models, folder)
    return folder


def _prepare(models: Path, folder: Path) -> None:
    import torch

    from napari_mtlpath.encoders.cards import EncoderCard
    from napari_mtlpath.encoders.families.timm import Timm
    from napari_mtlpath.encoders.load import load_encoder
    from napari_mtlpath.encoders.save import save_encoder
    from napari_mtlpath.nn.aggregators.mecds import MECDS
    from napari_mtlpath.tasks import Classification
    from napari_mtlpath.tiles.spec import TileSpec
    from napari_mtlpath.units import Microns, TilePixels
    from napari_mtlpath.zoo.card import ModelCard
    from napari_mtlpath.zoo.save import save_model

    torch.manual_seed(0)
    tile = TileSpec(tile_um=Microns(TILE_UM), tile_px=TilePixels(TILE_PX))
    encoder = Timm.build(name=ENCODER, options={"model": NETWORK, "tile_px": TILE_PX}, state=None)
    card = EncoderCard(
        name=ENCODER,
        family="timm",
        options={"model": NETWORK},
        features=encoder.features,
        tile=tile,
        licence="CC0-1.0",
    )
    save_encoder(models / "tile-encoders" / ENCODER, card, encoder.module.state_dict())
    saved = load_encoder(ENCODER, models=models)  # float16 rounds the weights, and so changes the digest
    tasks = tuple(Classification(name=name) for name in ("a", "b", "c"))
    aggregator = MECDS.build(tasks=tasks, features=saved.features, options=OPTIONS)
    save_model(
        folder,
        ModelCard(
            name=MODEL,
            tasks=tasks,
            encoder=ENCODER,
            encoder_sha256=saved.digest,
            tile=tile,
            aggregator="mecds",
            options=aggregator.options,
            licence="CC0-1.0",
        ),
        aggregator.state_dict(),
    )

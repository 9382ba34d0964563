"""The config of slide-aware pre-training: a tile encoder from nothing but labels of whole slides."""

from typing import Annotated, Any, Literal

from pydantic import Field

from napari_mtlpath.training.config.augmentation import AugmentationTable
from napari_mtlpath.training.config.balancing import BalancingTable
from napari_mtlpath.training.config.card import CardTexts
from napari_mtlpath.training.config.optimisation import OptimisationTable
from napari_mtlpath.training.config.table import Table
from napari_mtlpath.training.slide_aware.objective import Objective
from napari_mtlpath.training.tile_training.augment import Augmentation

DEFAULT_BALANCING = "ags"


class CellSlides(Table):
    """Slides made up of single cells of an archive: the published protocol, with which rare cells can be judged.

    Attributes
    ----------
    archive
        Of the cells; looked for below ``--data``, ``MTLPATH_DATA`` and ``../shared/data``.
    witness
        The cell type that makes a slide positive; no other label of a cell is used.
    witness_rate
        Its share of the cells of a positive slide.
    slides
        How many slides there are to learn from, half of them positive.
    cells_per_slide
        Cells of each slide.
    held_out_slides
        Slides of other training cells that the best epoch is chosen by, half of them positive.
    test_slides
        Positive slides of unseen cells for the figures on the card.
    tile_um
        Side of a cell's image on the glass.
    """

    source: Literal["cells"]
    archive: str = "pbc_wbcatt_trainval_96.zip"
    witness: str = "Basophil"
    witness_rate: float = Field(default=0.01, gt=0, lt=1)
    slides: int = Field(default=6, ge=2)
    cells_per_slide: int = Field(default=1000, ge=4)
    held_out_slides: int = Field(default=2, ge=2)
    test_slides: int = Field(default=6, ge=1)
    tile_um: float = Field(default=36.0, gt=0)


class SlideFiles(Table):
    """Tiles of slide files, of which a table says which ones are positive.

    Attributes
    ----------
    slides
        Table (CSV, XLSX) with the columns PATIENT and FILENAME; and, where `clinical` is empty, one of labels.
    clinical
        Table with the column PATIENT and the labels.
    slide_files
        Folder of the slides.
    label
        Name of the column of labels.
    classes
        How the table calls negative and positive slides, in this order.
    patient_column, filename_column
        Names of these columns in your tables.
    unknown
        Words that mean an unknown label; slides without a label are left out.
    tile_um, tile_px
        Side of a tile on the glass and in pixels.
    tiles_per_slide
        Most tiles of a slide, drawn evenly among those on tissue; 0 for all.
    selection_share
        Share of the patients of each class that the best epoch is chosen by; at least one of each.
    """

    source: Literal["slides"]
    slides: str
    clinical: str = ""
    slide_files: str
    label: str = Field(min_length=1)
    classes: tuple[str, str] = ("absent", "present")
    patient_column: str = "PATIENT"
    filename_column: str = "FILENAME"
    unknown: tuple[str, ...] = ()
    tile_um: float = Field(gt=0)
    tile_px: int = Field(ge=16)
    tiles_per_slide: int = Field(default=0, ge=0)
    selection_share: float = Field(default=0.2, gt=0, lt=1)


class NetworkTable(Table):
    """The ``[encoder]`` table: which network learns, and what of it becomes the encoder.

    Attributes
    ----------
    family, options
        The network, as in the card of an encoder.
    start_from
        Name or folder of an encoder whose weights it starts with, instead of random ones.
    features
        What is released: the features of the ``encoder``, or those behind the ``projector``.
    """

    family: str = "timm"
    options: dict[str, Any] = Field(default_factory=dict)
    start_from: str = ""
    features: Literal["encoder", "projector"] = "encoder"


class ObjectiveTable(Table):
    """The ``[objective]`` table: what is learned; see :class:`napari_mtlpath.training.slide_aware.objective.Objective`.

    Attributes
    ----------
    kind
        ``slide_aware``, ``contrastive`` (SimCLR on all tiles) or ``similarity`` (on slide-negative tiles alone).
    temperature
        What the cosines of NT-Xent are divided by.
    similarity_temperature
        What those of the similarity objective are divided by: its weight, for it is linear in them. Published as 0.07
        like the other; then it outweighs NT-Xent (14 against the logarithm of the batch, 5) and a small training
        collapses.
    width
        Features of the projector's hidden and last layer.
    """

    kind: Objective = Objective.SLIDE_AWARE
    temperature: float = Field(default=0.07, gt=0)
    similarity_temperature: float = Field(default=1.0, gt=0)
    width: int = Field(default=512, ge=1)


class ViewsTable(AugmentationTable):
    """The ``[views]`` table: how random views of a tile are cut out and changed.

    Attributes
    ----------
    crop
        Side of a view as a share of the tile's side.
    """

    crop: float = Field(default=0.875, gt=0, le=1)
    contrast: float = Field(default=0.1, ge=0, lt=1)
    brightness: float = Field(default=0.1, ge=0, lt=1)
    tint: float = Field(default=0.1, ge=0, lt=1)

    def augmentation(self) -> Augmentation:
        """Return how a view is changed once it is cut out."""
        return Augmentation(**self.model_dump(exclude={"crop"}))


class CollapseTable(Table):
    """The ``[collapse]`` table: when training stops because all embeddings became one.

    Attributes
    ----------
    least_spread
        Of the embeddings, from 0 (one point) to 1 (even); 0 never stops.
    patience
        Training steps in a row below it.
    """

    least_spread: float = Field(default=0.03, ge=0, lt=1)
    patience: int = Field(default=20, ge=1)


class SlideAwareConfig(Table):
    """Pre-training of a tile encoder with labels of whole slides (SLAM-AGS)."""

    kind: Literal["slide_aware"]
    name: str = Field(min_length=1)
    seed: int = 0
    data: Annotated[CellSlides | SlideFiles, Field(discriminator="source")]
    encoder: NetworkTable
    objective: ObjectiveTable = ObjectiveTable()
    views: ViewsTable = ViewsTable()
    collapse: CollapseTable = CollapseTable()
    optimisation: OptimisationTable
    balancing: BalancingTable = BalancingTable(method=DEFAULT_BALANCING)
    card: CardTexts = CardTexts()

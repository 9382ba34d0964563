"""A small simulated smear of made-up cells, a model that knows nothing of their types, and a hand that teaches it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from made_cells import SIDE, TYPES, made_cells

from napari_mtlpath.encoders.load import build_encoder, load_encoder
from napari_mtlpath.nn.aggregators.mecds import MECDS
from napari_mtlpath.samples import CELLS_FILE
from napari_mtlpath.simulation.cells import CELL_TASKS, load_cells
from napari_mtlpath.simulation.smear import Composer, SmearSpec
from napari_mtlpath.simulation.smear_file import read_truth, truth_path, write_smear
from napari_mtlpath.tasks import Classification, Regression
from napari_mtlpath.tiles.spec import TileSpec
from napari_mtlpath.zoo.card import ModelCard
from napari_mtlpath.zoo.own_encoder import TrainedEncoder
from napari_mtlpath.zoo.save import save_model

TILE_PX = 224
TILE_UM = 84.0
"""At the smear's nominal 0.375 um per pixel a cell fills one tile."""

TASKS = (
    Classification(name="dark", title="Dark cells", question="Are there dark cells?"),
    Regression(name="pink", title="Pink share", question="Which share is pink?", unit="share"),
)
OPTIONS = {"width": 32, "heads": 4, "blocks": 1, "feedforward": 2, "mixing": "none", "expert_mixing": "mlp"}
KIND = "Eosinophil"


def write_cell_smear(path: Path, *, rows: int = 8, columns: int = 10, seed: int = 1) -> tuple[Path, np.ndarray]:
    """Write a smear and return its path and which tile shows an eosinophil, [row, column]."""
    cells = made_cells(120, seed=seed)
    scale = TILE_PX // SIDE
    large = replace(cells, images=cells.images.repeat(scale, axis=1).repeat(scale, axis=2))
    spec = SmearSpec(rows=rows, columns=columns, witness=KIND, witness_rate=0.2, neutrophil_share=0.3, seed=seed)
    smear = Composer(large, witness=KIND).compose(spec)
    is_kind = large.labels[:, 0][smear.cells] == TYPES.index(KIND)
    return write_smear(path, large, smear), is_kind


def write_ignorant_model(models: Path, name: str = "ignorant", *, own: TrainedEncoder | None = None) -> str:
    """Save a model that was never trained below a models folder and return its name; it may carry its own encoder."""
    encoder = load_encoder("colour-stats") if own is None else build_encoder(replace(own.card, folder=None))
    generator = torch.Generator().manual_seed(0)
    aggregator = MECDS.build(tasks=TASKS, features=encoder.features, options=OPTIONS, generator=generator)
    card = ModelCard(
        name=name,
        title="Colours, by chance",
        summary="A model for tests whose weights were never trained: its numbers mean nothing.",
        tasks=TASKS,
        encoder=encoder.name,
        encoder_sha256=encoder.digest,
        tile=TileSpec(tile_um=TILE_UM, tile_px=TILE_PX),
        aggregator="mecds",
        options=dict(aggregator.options),
        made_for="tests of this program",
        limits="It was never trained.",
        licence="BSD-3-Clause",
        slide_labels_only=True,
    )
    save_model(models / "slide-models" / name, card, aggregator.state_dict(), encoder=own)
    return name


class Hand:
    """A user at the window: finds widgets by name, clicks, types, and clicks tiles on the canvas."""

    def __init__(self, viewer, panel, qtbot):
        from napari_mtlpath.viewer.binding import binding_of

        self.viewer, self.panel, self.qtbot = viewer, panel, qtbot
        self.binding = binding_of(viewer)
        self.session = self.binding.session

    def child(self, name):
        from qtpy.QtWidgets import QWidget

        found = self.panel.findChild(QWidget, name)
        assert found is not None, f"no {name}"
        return found

    def until(self, holds):
        self.qtbot.waitUntil(holds, timeout=600_000)

    def click(self, name):
        from qtpy.QtCore import Qt

        button = self.child(name)
        self.until(lambda: button.isEnabled() and button.isVisible())
        self.qtbot.mouseClick(button, Qt.MouseButton.LeftButton)

    def close_sections(self, *names):
        for name in names:
            self.click(f"section-{name}-heading")

    def click_tile(self, index):
        """Press and release the left button where the tile's middle is on the screen."""
        from qtpy.QtCore import QPoint, Qt

        grid = self.session.labels.place.grid
        row, column = divmod(int(index), grid.columns)
        middle = ((row + 0.5) * grid.side - 0.5, (column + 0.5) * grid.side - 0.5)
        world = np.array(self.binding.slide_layer().data_to_world(middle)[-2:])
        camera = self.viewer.scene.camera
        y, x = (world - np.array(camera.center[-2:])) * camera.zoom + np.array(self.viewer.canvas.size) / 2
        self.qtbot.mouseMove(self.canvas, QPoint(round(x), round(y)))
        self.qtbot.mouseClick(self.canvas, Qt.MouseButton.LeftButton, pos=QPoint(round(x), round(y)))

    def look_at_tiles(self, indices):
        """Move the camera so that these tiles fill the canvas."""
        grid = self.session.labels.place.grid
        rows, columns = np.divmod(np.asarray(indices), grid.columns)
        middle = [(axis.min() + axis.max() + 1) / 2 * grid.side for axis in (rows, columns)]
        camera = self.viewer.scene.camera
        camera.center = tuple(self.binding.slide_layer().data_to_world(middle)[-2:])
        camera.zoom *= 3

    @property
    def canvas(self):
        """The widget that napari draws on."""
        from qtpy.QtWidgets import QWidget

        window = self.viewer.window.main_menu.window()
        return next(w for w in window.findChildren(QWidget) if type(w).__name__ == "CanvasBackendDesktop")

    def show(self, name):
        """Scroll the panel so that a widget of it is seen."""
        self.child("dock-scroll").ensureWidgetVisible(self.child(name))

    def picture(self, path):
        """Write a picture of the window."""
        from qtpy.QtWidgets import QApplication

        for _ in range(3):
            QApplication.processEvents()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.viewer.screenshot(str(path), canvas_only=False, flash=False)
        assert path.stat().st_size > 10_000


def label_by_clicks(hand, is_kind, *, positives, negatives):
    """Click tiles that are of the kind and tiles that are not."""
    session, flat = hand.session, is_kind.ravel()
    hand.until(lambda: session.labels.place is not None)
    hand.click("label-tool-tiles")
    hand.until(lambda: hand.binding.label_layers.markers is not None)
    for answer, tiles in ((1, np.flatnonzero(flat)[:positives]), (0, np.flatnonzero(~flat)[:negatives])):
        hand.click(f"label-answer-{answer}")
        for index in tiles:
            hand.click_tile(index)
            hand.until(lambda index=index: int(index) in session.labels.labels.tiles)
    found = {index: given.value for index, given in session.labels.labels.tiles.items()}
    assert sum(found.values()) == positives
    assert len(found) == positives + negatives
    assert all(bool(flat[index]) == bool(value) for index, value in found.items())


def eosinophils(data: Path, slide: Path) -> np.ndarray:
    """Return which cell of the smear is an eosinophil, [row, column]."""
    cells = load_cells(data / CELLS_FILE).validation()
    kind = CELL_TASKS[0].classes.index("Eosinophil")
    return cells.labels[:, 0][read_truth(truth_path(slide)).cells] == kind

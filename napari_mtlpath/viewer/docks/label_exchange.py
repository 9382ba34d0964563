"""Labels from files and to files."""

from collections.abc import Callable
from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QGridLayout, QPushButton, QWidget

from napari_mtlpath.session.label_files import export_geojson, import_geojson, import_table
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import describe
from napari_mtlpath.viewer.worker import sentence_of

GEOJSON = "GeoJSON (*.geojson *.json)"
TABLES = "Tables (*.csv *.tsv *.xlsx)"


class LabelExchange(QWidget):
    """Buttons that import and export labels; files are read and written by a worker."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("label-exchange")
        self._session = session
        self._import = self._button(
            "Import…",
            "label-import",
            "Regions and tiles from a GeoJSON file, as QuPath exports them.",
            self._ask_import,
        )
        self._export = self._button(
            "Export…", "label-export", "This slide's labels as a GeoJSON file that QuPath opens.", self._ask_export
        )
        self._table = self._button(
            "From table…",
            "label-table",
            "Labels of whole slides from a table: a column FILENAME, and one that is called like the task.",
            self._ask_table,
        )
        layout = QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        for column, button in enumerate((self._import, self._export, self._table)):
            layout.addWidget(button, 0, column)
        self._bridge = bridge = Bridge(session, self)
        bridge.labels_changed.connect(self.show_labels)
        self.show_labels()

    def show_labels(self) -> None:
        """Offer what can be done now."""
        labels = self._session.labels
        self.setVisible(labels.task is not None)
        for button in (self._import, self._export):
            button.setEnabled(labels.place is not None)

    def import_file(self, path: Path) -> None:
        """Take a GeoJSON file's labels."""
        labels = self._session.labels
        self._do(f"Importing {path.name}", lambda: import_geojson(labels, path))

    def export_file(self, path: Path) -> None:
        """Write the labels of the open slide."""
        labels = self._session.labels
        self._do(f"Writing {path.name}", lambda: export_geojson(labels, path))

    def import_table(self, path: Path) -> None:
        """Take a cohort table's labels."""
        session = self._session
        self._do(f"Reading {path.name}", lambda: import_table(session, path))

    def _do(self, what: str, job: Callable[[], str]) -> None:
        session = self._session

        def work() -> str:
            with session.working(what):
                return job()

        send_for(
            self,
            work,
            on_done=lambda said: session.say(Level.INFO, said),
            on_error=lambda error: session.say(Level.ERROR, sentence_of(error)),
        )

    def _button(self, text: str, name: str, tooltip: str, action: Callable[[], object]) -> QPushButton:
        button = QPushButton(text)
        describe(button, name, tooltip)
        button.clicked.connect(lambda: action())
        return button

    def _folder(self) -> Path:
        slide = self._session.slide
        return Path(slide.path).parent if slide is not None else Path.home()

    def _ask_import(self) -> None:
        self._ask("label-import-dialog", "Import labels", self._folder(), GEOJSON, self.import_file)

    def _ask_table(self) -> None:
        self._ask("label-table-dialog", "Labels from a table", self._folder(), TABLES, self.import_table)

    def _ask_export(self) -> None:
        slide, draft = self._session.slide, self._session.labels.task
        if slide is None or draft is None:
            return
        proposed = self._folder() / f"{Path(slide.name).stem}-{draft.name}.geojson"
        self._ask("label-export-dialog", "Export labels", proposed, GEOJSON, self.export_file, saving=True)

    def _ask(
        self, name: str, title: str, start: Path, kinds: str, take: Callable[[Path], object], *, saving: bool = False
    ) -> None:
        """Let the user choose a file; nothing waits meanwhile."""
        folder = start.parent if saving else start
        dialog = QFileDialog(self, title, str(folder), kinds)
        dialog.setObjectName(name)
        if saving:
            dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
            dialog.setDefaultSuffix("geojson")
            dialog.selectFile(start.name)
        else:
            dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda chosen: take(Path(chosen)))
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()

"""Opening a slide from a dock: a file of one's own, or a sample."""

from pathlib import Path

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QMenu, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.samples import Sample, sample_slides
from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.worker import sentence_of

FILTER = "Slides (*.svs *.tif *.tiff *.ndpi *.scn *.bif *.mrxs *.vms *.dcm);;All files (*)"


class OpenSlideForm(QWidget):
    """Tells a first-time user what to do, with the two buttons that do it."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("open-slide-form")
        self._session = session
        self._dialog: QFileDialog | None = None
        self._open = QPushButton("Open slide…")
        describe(self._open, "open-slide-button", "Choose a slide file from this computer.")
        self._open.clicked.connect(self.choose)
        self._menu = QMenu(self)
        self._sample = QPushButton("Open sample")
        describe(self._sample, "open-sample-button", "Open a slide that comes with the program.")
        self._sample.setMenu(self._menu)
        self._sample.setEnabled(False)
        self._build()
        send_for(self, sample_slides, on_done=self._offer, on_error=self._fail)

    def choose(self) -> None:
        """Let the user choose a file, and open it."""
        dialog = QFileDialog(self, "Open slide", "", FILTER)
        dialog.setObjectName("open-slide-dialog")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.open_path)
        self._dialog = dialog
        dialog.open()

    def open_path(self, path: str) -> None:
        """Open a slide file in the background."""
        session = self._session
        send_for(self, lambda: session.open_slide(Path(path)), on_error=self._fail)

    def open_sample(self, sample: Sample) -> None:
        """Make or fetch a sample slide where needed, and open it, in the background."""
        session = self._session

        def work() -> None:
            with session.working(f"Preparing {sample.title}"):
                path = sample.path()
            session.open_slide(path, assumed_mpp=sample.assumed_mpp)

        send_for(self, work, on_error=self._fail)

    def _build(self) -> None:
        buttons = QHBoxLayout()
        buttons.addWidget(self._open)
        buttons.addWidget(self._sample)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(PlainLabel("open-slide-heading", "Open a slide", strong=True))
        layout.addWidget(
            PlainLabel("open-slide-hint", "Drag a slide file onto the window, choose one, or look at a sample first.")
        )
        layout.addLayout(buttons)

    def _offer(self, samples: tuple[Sample, ...]) -> None:
        """List the samples once it is known which ones there are."""
        for sample in samples:
            words = sample.title + (" (downloaded once)" if sample.needs_internet else "")
            action = self._menu.addAction(words.replace("&", "&&"))
            action.setObjectName(f"open-sample-{sample.name}")
            action.setToolTip(sample.detail)
            action.triggered.connect(lambda _=False, sample=sample: self.open_sample(sample))
        self._sample.setEnabled(bool(samples))

    def _fail(self, error: Exception) -> None:
        self._session.say(Level.ERROR, sentence_of(error))

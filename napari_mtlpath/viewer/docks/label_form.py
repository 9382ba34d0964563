"""Label and overview pictures of a slide: hidden until asked for, because they may show who the patient is."""

from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.session.messages import Level
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe
from napari_mtlpath.viewer.docks.pictures import picture_of
from napari_mtlpath.viewer.worker import sentence_of

PICTURE_WIDTH = 290
PRIVACY = "May show a patient's name or number. It is read now, shown only here, and never analysed, kept or exported."


class LabelForm(QWidget):
    """The pictures beside the tissue, read and shown when a button is pressed, and hidden again.

    Parameters
    ----------
    session
        The session.
    button
        The button; it lies elsewhere.
    """

    def __init__(self, session: Session, button: QPushButton) -> None:
        super().__init__()
        self.setObjectName("label-form")
        self._session = session
        self._button = button
        describe(self._button, "label-button", PRIVACY)
        self._button.clicked.connect(self._toggle)
        self._note = PlainLabel("label-note", tooltip="Why these pictures are hidden until you ask for them.")
        self._pictures = QVBoxLayout()
        self._shown = False
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._note)
        layout.addLayout(self._pictures)

    def show_slide(self) -> None:
        """Start hidden for each slide."""
        self._hide()
        slide = self._session.slide
        self._button.setVisible(slide is not None and bool(slide.facts.associated))

    def _toggle(self) -> None:
        if self._shown:
            self._hide()
            return
        slide = self._session.slide
        if slide is None:
            return
        self._shown = True
        self._button.setText("Hide label")
        self._note.say(PRIVACY)
        names = sorted(slide.facts.associated)

        def read() -> list[tuple[str, QImage]]:
            return [(name, picture_of(slide.associated(name))) for name in names]

        def show(pictures: list[tuple[str, QImage]]) -> None:
            if self._shown and self._session.slide is slide:
                self._show(pictures)

        send_for(self, read, on_done=show, on_error=self._fail)

    def _show(self, pictures: list[tuple[str, QImage]]) -> None:
        for name, picture in pictures:
            shown = QLabel()
            describe(shown, f"label-picture-{name}", f"The file's picture called {name}.")
            narrow = picture.width() > PICTURE_WIDTH
            shown.setPixmap(
                QPixmap.fromImage(
                    picture.scaledToWidth(PICTURE_WIDTH, Qt.TransformationMode.SmoothTransformation)
                    if narrow
                    else picture
                )
            )
            self._pictures.addWidget(PlainLabel(f"label-name-{name}", name))
            self._pictures.addWidget(shown)

    def _hide(self) -> None:
        self._shown = False
        self._button.setText("Show label…")
        self._note.say("")
        while (item := self._pictures.takeAt(0)) is not None:
            if (widget := item.widget()) is not None:
                widget.hide()
                widget.deleteLater()

    def _fail(self, error: Exception) -> None:
        self._hide()
        self._session.say(Level.ERROR, sentence_of(error))

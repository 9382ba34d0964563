"""How large a pixel of the slide is: the value, where it came from, and a field to type a better one."""

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QLineEdit, QPushButton, QVBoxLayout, QWidget

from napari_mtlpath.session.scale import typed_number
from napari_mtlpath.session.session import Session
from napari_mtlpath.session.wording import source_words
from napari_mtlpath.slides.resolution import ResolutionSource
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe, plain_tooltip


class ScaleForm(QWidget):
    """Shows and changes the microns per pixel of the session's slide."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("scale-form")
        self._session = session
        self._field = QLineEdit()
        describe(
            self._field,
            "scale-field",
            "Microns per pixel of the full resolution: 0.25 for most 40x scans, 0.5 for 20x. Enter sets it.",
        )
        self._field.setPlaceholderText("for example 0.25")
        self._field.returnPressed.connect(self._set)
        self._button = QPushButton("Set")
        describe(self._button, "scale-set", "Use the typed value and analyse the slide anew.")
        self._button.clicked.connect(self._set)
        self._remember = QCheckBox("Remember for this slide")
        describe(self._remember, "scale-remember", "Use the typed value again whenever this slide is opened.")
        self._remember.setChecked(True)
        self._value = PlainLabel("scale-value", tooltip="The side of one pixel on the glass, in micrometres (um).")
        self._change = QPushButton("Change…")
        describe(self._change, "scale-change", "Type another pixel size, where you know better than the file.")
        self._change.clicked.connect(lambda: self._edit(True))
        self._editor = QWidget()
        self._editor.setObjectName("scale-editor")
        self._source = PlainLabel("scale-source", tooltip="Where the number above came from.")
        self._error = PlainLabel("scale-error", tooltip="Why the typed value was not taken.", strong=True)
        self._field.textEdited.connect(lambda _: self._error.say(""))
        self._build()

    def show_slide(self) -> None:
        """Show the session's slide."""
        slide = self._session.slide
        if slide is None:
            return
        known = slide.resolution.known
        words = f"{slide.resolution.mean:.4g}" if known else ""
        self._field.setText(words)
        self._value.say(f"{words} um per pixel" if known else "unknown")
        self._value.setToolTip(plain_tooltip(source_words(slide)))
        ordinary = slide.resolution.source is ResolutionSource.FILE  # Then the tooltip is enough.
        self._source.say("" if ordinary else source_words(slide))
        self._error.say("")
        self._edit(not known)

    def _build(self) -> None:
        title = QLabel("Pixel size")
        describe(title, "scale-label", "The side of one pixel on the glass, in micrometres (um).")
        title.setBuddy(self._field)
        head = QHBoxLayout()
        head.addWidget(title)
        head.addWidget(self._value, 1)
        head.addWidget(self._change)
        row = QHBoxLayout()
        row.addWidget(self._field, 1)
        row.addWidget(QLabel("um per pixel"))
        row.addWidget(self._button)
        editor = QVBoxLayout(self._editor)
        editor.setContentsMargins(0, 0, 0, 0)
        editor.setSpacing(3)
        editor.addLayout(row)
        editor.addWidget(self._error)
        editor.addWidget(self._remember)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        layout.addLayout(head)
        layout.addWidget(self._source)
        layout.addWidget(self._editor)

    def _edit(self, wanted: bool) -> None:
        self._editor.setVisible(wanted)
        self._change.setVisible(not wanted)
        if wanted and self._change.hasFocus():
            self._field.setFocus()

    def _set(self) -> None:
        try:
            self._session.set_mpp(typed_number(self._field.text()), remember=self._remember.isChecked())
        except ValueError as error:
            self._error.say(str(error))

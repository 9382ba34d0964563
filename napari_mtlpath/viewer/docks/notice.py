"""What the session has to tell, above everything else: what holds the analysis, what went wrong, what is going on."""

import textwrap

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QHBoxLayout, QLabel, QStyle, QToolButton, QVBoxLayout, QWidget

from napari_mtlpath.session.messages import Level, Message, standing_notice
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe, plain_tooltip

ICON_PX = 16
LONGEST_TEXT = 330
"""Characters of a message that are shown; the whole is in its tooltip and in the log."""


class NoticeBar(QWidget):
    """Shows what the session is busy with, its last message until it is dismissed, and its standing notice."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("notice-bar")
        self._session = session
        self._last: Message | None = None
        self._busy = PlainLabel("notice-busy", tooltip="What the program is busy with in the background.")
        self._icon = QLabel()
        describe(self._icon, "notice-icon", "How much the message beside it matters.")
        self._icon.setAlignment(Qt.AlignmentFlag.AlignTop)
        self._text = PlainLabel("notice-text", tooltip="What the program has to tell you.")
        self._dismiss = QToolButton()
        describe(self._dismiss, "notice-dismiss", "Dismiss this message.")
        self._dismiss.setIcon(self.style().standardIcon(QStyle.StandardPixmap.SP_TitleBarCloseButton))
        self._dismiss.setAutoRaise(True)
        self._dismiss.clicked.connect(self._forget)
        row = QHBoxLayout()
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(self._icon)
        row.addWidget(self._text, 1)
        row.addWidget(self._dismiss, 0, Qt.AlignmentFlag.AlignTop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(6, 4, 6, 4)
        layout.addWidget(self._busy)
        layout.addLayout(row)
        self._bridge = bridge = Bridge(session, self)
        bridge.message.connect(self._hear)
        for news in (bridge.busy_changed, bridge.slide_changed, bridge.model_changed, bridge.resolution_changed):
            news.connect(self._show)
        self._show()

    def _hear(self, message: Message) -> None:
        self._last = message
        self._show()

    def _forget(self) -> None:
        self._last = None
        self._show()

    def _show(self, _: object = None) -> None:
        """Show the last message; a standing notice comes first, because nothing works until it is dealt with."""
        session = self._session
        busy = session.busy
        self._busy.say(f"{busy} …" if busy else "")
        standing = standing_notice(session.slide, session.model)
        shown = standing or self._last
        self._text.say(textwrap.shorten(shown.text, LONGEST_TEXT, placeholder=" …") if shown else "")
        self._text.setToolTip(plain_tooltip(shown.text if shown else ""))
        self._dismiss.setVisible(standing is None and shown is not None)
        self._icon.setVisible(shown is not None)
        if shown is not None:
            self._icon.setPixmap(self.style().standardIcon(_ICONS[shown.level]).pixmap(ICON_PX))
        needed = bool(busy) or shown is not None
        if self.parent() is not None or not needed:  # Without a parent Qt would open a window of its own.
            self.setVisible(needed)


_ICONS = {
    Level.INFO: QStyle.StandardPixmap.SP_MessageBoxInformation,
    Level.WARNING: QStyle.StandardPixmap.SP_MessageBoxWarning,
    Level.ERROR: QStyle.StandardPixmap.SP_MessageBoxCritical,
}

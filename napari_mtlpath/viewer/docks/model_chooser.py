"""Choosing a model of the zoo, with its card to read before trusting it."""

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QPlainTextEdit, QPushButton, QToolButton, QVBoxLayout, QWidget

from napari_mtlpath.session.card_words import card_words
from napari_mtlpath.session.choice import ModelOffer, model_offers
from napari_mtlpath.session.messages import Level, made_for
from napari_mtlpath.session.session import Session
from napari_mtlpath.viewer.bridge import Bridge
from napari_mtlpath.viewer.docks.elided_box import ElidedBox
from napari_mtlpath.viewer.docks.errand import send_for
from napari_mtlpath.viewer.docks.labels import PlainLabel, describe, plain_tooltip
from napari_mtlpath.viewer.worker import sentence_of

CARD_HEIGHT = 230


class ModelChooser(QWidget):
    """A list of models, a button that loads one, and the card of the one that is looked at."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.setObjectName("model-chooser")
        self._session = session
        self._offers: tuple[ModelOffer, ...] = ()
        self._looking = True
        self._loading = False
        self._list = ElidedBox()
        describe(self._list, "model-list", "The models that can be used here.")
        self._list.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self._list.setMinimumContentsLength(12)
        self._list.currentIndexChanged.connect(self._show)
        self._load = QPushButton("Load")
        describe(self._load, "model-load", "Load the chosen model; it starts on the open slide at once.")
        self._load.clicked.connect(self.load)
        self._summary = PlainLabel("model-summary", tooltip="What the chosen model does, in its makers' words.")
        self._computing = PlainLabel("model-computing", tooltip="OpenVINO was asked for, and does a part of the work.")
        self._made_for = PlainLabel("model-made-for", tooltip="On other stains and organs its numbers mean nothing.")
        self._about = QToolButton()
        describe(self._about, "model-about", "Read the model's card: tasks, figures, limits, licence.")
        self._about.setText("About this model")
        self._about.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._about.setArrowType(Qt.ArrowType.RightArrow)
        self._about.setCheckable(True)
        self._about.toggled.connect(self._show_card)
        self._card = QPlainTextEdit()
        describe(self._card, "model-card", "The model's card.")
        self._card.setReadOnly(True)
        self._card.setFixedHeight(CARD_HEIGHT)
        self._build()
        self._bridge = bridge = Bridge(session, self)
        bridge.model_changed.connect(self._choose_present)
        bridge.models_changed.connect(self._look)
        self._show()
        self._look()

    @property
    def offer(self) -> ModelOffer | None:
        """The entry that is looked at."""
        index = self._list.currentIndex()
        return self._offers[index] if 0 <= index < len(self._offers) else None

    def load(self) -> None:
        """Load the chosen model in the background."""
        offer, session = self.offer, self._session
        if offer is None or offer.problem:
            return
        self._loading = True
        self._show()
        name = offer.name
        send_for(self, lambda: session.load_model(name), on_done=self._loaded, on_error=self._fail)

    def _look(self) -> None:
        """Look which models there are."""
        send_for(self, model_offers, on_done=self._offer, on_error=self._fail)

    def _build(self) -> None:
        row = QHBoxLayout()
        row.addWidget(self._list, 1)
        row.addWidget(self._load)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(row)
        for widget in (self._summary, self._made_for, self._computing, self._about, self._card):
            layout.addWidget(widget)

    def _offer(self, offers: tuple[ModelOffer, ...]) -> None:
        self._list.blockSignals(True)
        self._offers, self._looking = offers, False
        self._list.clear()
        for index, offer in enumerate(offers):
            self._list.addItem(offer.words)
            self._list.setItemData(index, plain_tooltip(offer.hint), Qt.ItemDataRole.ToolTipRole)
        self._list.setCurrentIndex(0 if offers else -1)  # With a placeholder Qt chooses nothing by itself.
        self._list.blockSignals(False)
        self._choose_present()

    def _choose_present(self, _: object = None) -> None:
        """Look at the model that is in use."""
        model = self._session.model
        names = [offer.name for offer in self._offers]
        if model is not None and model.card.name in names:
            self._list.setCurrentIndex(names.index(model.card.name))
        self._show()

    def _loaded(self, _: object) -> None:
        self._loading = False
        self._show()

    def _fail(self, error: Exception) -> None:
        self._loading = False
        self._show()
        self._session.say(Level.ERROR, sentence_of(error))

    def _show(self, _: object = None) -> None:
        offer, model = self.offer, self._session.model
        in_use = offer is not None and model is not None and model.card.name == offer.name
        self._list.setEnabled(bool(self._offers))
        self._list.setPlaceholderText("Looking for models…" if self._looking else "No models here")
        self._load.setText("Loading…" if self._loading else "In use" if in_use else "Load")
        self._load.setEnabled(offer is not None and not offer.problem and not in_use and not self._loading)
        card = model.card if model is not None and in_use else offer.card if offer is not None else None
        problem = offer.problem if offer is not None else ""
        looked_at = card.summary if card is not None and not in_use else ""  # In use, it stands in the card below.
        self._summary.say(looked_at or problem or ("" if self._looking or card is not None else _NO_MODELS))
        self._made_for.say(made_for(card) if card is not None else "")
        self._computing.say(str(getattr(model, "refusal", "")) if in_use else "")
        self._card.setPlainText(card_words(card) if card is not None else "")
        self._about.setVisible(card is not None)
        self._card.setVisible(card is not None and self._about.isChecked())

    def _show_card(self, wanted: bool) -> None:
        self._about.setArrowType(Qt.ArrowType.DownArrow if wanted else Qt.ArrowType.RightArrow)
        self._show()


_NO_MODELS = (
    "No model was found. Train one with 'mtlpath train', or put a model's folder into the folder that 'mtlpath doctor' "
    "names."
)

"""Number fields that read a decimal point and a decimal comma alike, on a computer of any language."""

from qtpy.QtCore import QLocale
from qtpy.QtGui import QValidator
from qtpy.QtWidgets import QDoubleSpinBox, QLineEdit


def read_point_and_comma(field: QDoubleSpinBox) -> None:
    """Let `field` show a decimal point, and take a comma, typed or pasted, as one.

    Qt reads numbers as the computer's language writes them, with separators of thousands: a German one makes 15 out of
    a typed 1.5, an English one 25 out of 0,25. Nothing in a slide, a card or a configuration is written that way.
    """
    plain = QLocale(QLocale.Language.C)
    plain.setNumberOptions(QLocale.NumberOption.OmitGroupSeparator | QLocale.NumberOption.RejectGroupSeparator)
    field.setLocale(plain)
    text = field.findChild(QLineEdit)
    text.setValidator(_CommaAsPoint(field))


class _CommaAsPoint(QValidator):
    """Judges a text as its field does, once commas are points: two of them are no number."""

    def __init__(self, field: QDoubleSpinBox) -> None:
        super().__init__(field)
        self._field = field

    def validate(self, text: str, place: int) -> tuple[QValidator.State, str, int]:
        found = self._field.validate(text.replace(",", "."), place)
        return found[0], found[1], found[2]

    def fixup(self, text: str) -> str:
        return self._field.fixup(text)

"""A form for the settings of a pydantic table, made by magicgui from the table itself."""

import math
from collections.abc import Sequence
from typing import Any

from magicgui.widgets import create_widget
from qtpy.QtCore import QEvent, QObject, Qt, Signal
from qtpy.QtWidgets import (
    QAbstractSpinBox,
    QComboBox,
    QDoubleSpinBox,
    QFormLayout,
    QLabel,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from napari_mtlpath.session.config_fields import ConfigField
from napari_mtlpath.viewer.docks.decimal_point import read_point_and_comma
from napari_mtlpath.viewer.docks.labels import describe

LARGEST = 10**9
"""Largest number of a setting that has no limit."""

DIGITS = 6
"""Decimals of the smallest step."""


class ConfigForm(QWidget):
    """One widget per setting, with its meaning as tooltip; settings without an effect at the moment are hidden.

    Parameters
    ----------
    name
        Part of the object names.
    fields
        The settings.
    """

    changed = Signal()

    def __init__(self, name: str, fields: Sequence[ConfigField]) -> None:
        super().__init__()
        self.setObjectName(f"{name}-form")
        self._fields = {field.name: field for field in fields}
        self._widgets = {field.name: _made(field) for field in fields}
        self._labels: dict[str, QLabel] = {}
        self._still = _Still()
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setVerticalSpacing(3)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        for field in fields:
            native = self._widgets[field.name].native
            describe(native, f"{name}-{field.name}", field.help)
            if isinstance(native, QAbstractSpinBox | QComboBox):
                native.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
                native.setMinimumWidth(60)
                native.installEventFilter(self._still)
            if isinstance(native, QDoubleSpinBox):
                read_point_and_comma(native)
            label = QLabel(field.name.replace("_", " "))
            describe(label, f"{name}-{field.name}-label", field.help)
            self._labels[field.name] = label
            form.addRow(label, native)
            self._widgets[field.name].changed.connect(lambda _: self._hear())
        defaults = QPushButton("Defaults")
        describe(defaults, f"{name}-defaults", "Set everything as it was at first.")
        defaults.clicked.connect(self.reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addLayout(form)
        layout.addWidget(defaults)
        self._show_what_matters()

    @property
    def changes(self) -> dict[str, Any]:
        """The settings that differ from their defaults and have an effect."""
        values = {name: widget.value for name, widget in self._widgets.items() if self._matters(name)}
        return {name: value for name, value in values.items() if value != self._fields[name].default}

    def _hear(self) -> None:
        self._show_what_matters()
        self.changed.emit()

    def _matters(self, name: str) -> bool:
        condition = self._fields[name].matters_when
        return condition is None or self._widgets[condition[0]].value == condition[1]

    def _show_what_matters(self) -> None:
        for name, widget in self._widgets.items():
            matters = self._matters(name)
            widget.native.setVisible(matters)
            self._labels[name].setVisible(matters)

    def reset(self) -> None:
        """Set everything as it was at first."""
        for name, widget in self._widgets.items():
            widget.value = self._fields[name].default


class _Still(QObject):
    """Keeps the wheel from changing a setting that the user only scrolls past."""

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        if event.type() == QEvent.Type.Wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return False


def _made(field: ConfigField) -> Any:  # noqa: ANN401 - whatever widget magicgui has for the type
    options: dict[str, Any] = {}
    if field.annotation in (int, float):
        options = {
            "min": -LARGEST if field.low is None else field.low,
            "max": LARGEST if field.high is None else field.high,
        }
    if field.annotation is float:
        options["step"] = _step(float(field.default))
    return create_widget(value=field.default, annotation=field.annotation, name=field.name, options=options)


def _step(value: float) -> float:
    """Return a tenth of the power of ten below a value, so that it can be seen and changed with some precision."""
    if value <= 0:
        return 0.01
    return max(10.0 ** (math.floor(math.log10(value)) - 1), 10.0**-DIGITS)

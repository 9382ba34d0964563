"""Figures as text: as many digits as are worth reading, and a dash where there is none."""

import math

from napari_mtlpath.evaluation.intervals import Interval

NOTHING = "-"


def number(value: float, *, digits: int = 3) -> str:
    """Return a figure with a fixed number of decimals.

    Examples
    --------
    >>> number(0.91234), number(float("nan"))
    ('0.912', '-')
    """
    return f"{value:.{digits}f}" if math.isfinite(value) else NOTHING


def with_interval(figure: Interval, *, digits: int = 3) -> str:
    """Return a figure with its 95 % interval; a star marks one that no resample moves.

    Examples
    --------
    >>> with_interval(Interval(value=0.91, low=0.85, high=0.96))
    '0.910 (0.850 to 0.960)'
    """
    if not math.isfinite(figure.value):
        return NOTHING
    if not figure.known:
        return number(figure.value, digits=digits)
    star = "*" if figure.degenerate else ""
    limits = f"{number(figure.low, digits=digits)} to {number(figure.high, digits=digits)}"
    return f"{number(figure.value, digits=digits)} ({limits}){star}"


def p_value(value: float) -> str:
    """Return a p-value.

    Examples
    --------
    >>> p_value(0.00012), p_value(0.0312)
    ('<0.001', '0.031')
    """
    if not math.isfinite(value):
        return NOTHING
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def percent(value: float) -> str:
    """Return a share in percent.

    Examples
    --------
    >>> percent(0.123)
    '12.3 %'
    """
    return f"{100 * value:.1f} %" if math.isfinite(value) else NOTHING

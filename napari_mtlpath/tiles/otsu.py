"""Otsu's threshold."""

import numpy as np
from numpy.typing import NDArray

BINS = 256


def otsu_threshold(values: NDArray[np.floating]) -> float:
    """Return the value that parts a histogram of 256 bins into the two classes furthest apart.

    Of all splits the one of the largest between-class variance w1 w2 (m1 - m2)^2 *(Otsu, 1979, IEEE Trans. SMC 9(1),
    eq. 18)*; the threshold is the centre of the lower class's last bin.

    Parameters
    ----------
    values
        At least two different finite values, of any shape.

    Examples
    --------
    >>> round(otsu_threshold(np.array([0.0, 0.1, 0.2, 0.9, 1.0])), 2)
    0.2
    """
    counts, edges = np.histogram(values, bins=BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    weight, moment = counts.cumsum()[:-1], (counts * centres).cumsum()
    other = counts.sum() - weight
    apart = moment[:-1] / weight - (moment[-1] - moment[:-1]) / other
    return float(centres[np.argmax(weight * other * apart**2)])

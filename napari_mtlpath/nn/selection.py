"""The top-p rule on plain arrays, where no torch computes; see :func:`napari_mtlpath.nn.routing.top_p`."""

import numpy as np
from numpy.typing import NDArray


def kept_tiles(phi: NDArray[np.float32], p: float) -> NDArray[np.bool_]:
    """Return the smallest set of largest weights [tile] whose sum exceeds `p`, at least one; ties keep the earlier.

    Examples
    --------
    >>> kept_tiles(np.array([0.1, 0.6, 0.3], np.float32), 0.5).tolist()
    [False, True, False]
    """
    order = np.argsort(-phi, kind="stable")
    ranked = phi[order].astype(np.float64)
    before = np.concatenate([[0.0], np.cumsum(ranked)[:-1]])
    kept = np.zeros(len(phi), np.bool_)
    kept[order] = before <= p
    return kept

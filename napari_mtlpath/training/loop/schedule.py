"""How the learning rate falls over a training."""

import math


def cosine_factor(progress: float, *, warmup: float = 0.0) -> float:
    """Return the factor on the initial learning rate at `progress`, from 0 (start) to 1 (end).

    It rises linearly over the first `warmup` of the training and then follows half a cosine from 1 to 0
    (Loshchilov and Hutter, 2017, arXiv:1608.03983, without restarts).

    Examples
    --------
    >>> [round(cosine_factor(progress), 3) for progress in (0.0, 0.5, 1.0)]
    [1.0, 0.5, 0.0]
    """
    if not 0.0 <= progress <= 1.0:
        raise ValueError(f"Progress must lie in 0 to 1; found {progress}.")
    if progress < warmup:
        return progress / warmup
    remaining = (progress - warmup) / (1.0 - warmup) if warmup < 1.0 else 1.0
    return 0.5 * (1.0 + math.cos(math.pi * remaining))

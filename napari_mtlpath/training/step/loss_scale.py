"""Loss scaling, so that small gradients survive float16."""

from collections.abc import Mapping

FIRST_SCALE = 2.0**16
STEPS_UNTIL_DOUBLED = 2000
SMALLEST_SCALE = 2.0**-14
"""Below this no gradient of float16 is worth saving: the training itself has gone wrong."""


class LossScale:
    """What losses are multiplied by before a backward pass in float16, and gradients divided by after it.

    Halved when a gradient overflows, and that step is left out; doubled after 2,000 steps without
    (Micikevicius et al., 2018, arXiv:1710.03740, section 3.2). It is divided out before tasks are balanced, clipped or
    compared, so that no method ever sees a scaled gradient.

    Examples
    --------
    >>> scale = LossScale()
    >>> scale.note(overflow=True)
    >>> scale.value
    32768.0
    """

    def __init__(self) -> None:
        self.value = FIRST_SCALE
        self.steps = 0

    def note(self, *, overflow: bool) -> None:
        """Adapt to what a step saw.

        Raises
        ------
        FloatingPointError
            If gradients overflow whatever the scale.
        """
        self.steps = 0 if overflow else self.steps + 1
        if overflow:
            self.value /= 2.0
        elif self.steps == STEPS_UNTIL_DOUBLED:
            self.value, self.steps = self.value * 2.0, 0
        if self.value < SMALLEST_SCALE:
            raise FloatingPointError("The gradient of float16 overflowed again and again")

    def state_dict(self) -> dict[str, float]:
        """Return what a resumed training needs."""
        return {"value": self.value, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, float]) -> None:
        """Restore what :meth:`state_dict` returned."""
        self.value, self.steps = state["value"], int(state["steps"])

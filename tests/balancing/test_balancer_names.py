"""Balancing methods by the names that users type."""

import pytest

from napari_mtlpath.balancing.balancer import GRADIENTS, LOSSES, names, parse

TASKS = ("a", "b")
PAPER_LOSSES = ("equal", "dwa", "uncert", "autol")
PAPER_GRADIENTS = ("none", "graddrop", "pcgrad", "cagrad")


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("equal", "equal"),
        ("pcgrad", "equal+pcgrad"),
        ("uncert + cagrad", "uncert+cagrad"),
        ("dwa+none", "dwa"),
        ("famo", "famo"),
    ],
)
def test_names_are_read_as_users_type_them(typed: str, canonical: str) -> None:
    balancer = parse(typed, tasks=TASKS)
    assert balancer.name == canonical
    assert balancer.tasks == TASKS
    assert parse(balancer.name, tasks=TASKS).name == canonical


def test_the_sixteen_of_the_paper_are_there() -> None:
    typed = [f"{losses}+{gradients}" for losses in PAPER_LOSSES for gradients in PAPER_GRADIENTS]
    made = {parse(name, tasks=TASKS).name for name in typed}
    assert len(made) == 16
    assert made <= set(names())


def test_every_pair_has_a_name() -> None:
    assert len(names()) == len(LOSSES.names()) * (1 + len(GRADIENTS.names()))
    assert set(GRADIENTS.names()) == {
        "ags", "aligned_mtl", "cagrad", "graddrop", "imtl_g", "mgda", "nash_mtl", "pcgrad", "upgrad"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("typed", "near"),
    [("uncrt+cagrad", "uncert"), ("uncert+cagard", "cagrad"), ("pcgrd", "pcgrad"), ("eqal", "equal")],
)
def test_a_mistyped_name_is_answered_with_the_nearest(typed: str, near: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean '{near}'"):
        parse(typed, tasks=TASKS)


@pytest.mark.parametrize("typed", ["", "+", "dwa+", "dwa+pcgrad+mgda"])
def test_what_is_no_name_is_answered_with_its_form(typed: str) -> None:
    with pytest.raises(ValueError, match=r"both joined by '\+'"):
        parse(typed, tasks=TASKS)


def test_a_gradient_method_does_not_stand_before_the_plus() -> None:
    with pytest.raises(ValueError, match="no loss balancing method called 'pcgrad'"):
        parse("pcgrad+dwa", tasks=TASKS)


def test_options_reach_the_method_they_are_given_for() -> None:
    balancer = parse("dwa+cagrad", tasks=TASKS, options={"dwa": {"temperature": 5.0}, "cagrad": {"c": 0.2}})
    assert (balancer.losses.temperature, balancer.gradients.c) == (5.0, 0.2)


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"'dwa' has no option 'temprature'\. Did you mean 'temperature'"):
        parse("dwa", tasks=TASKS, options={"dwa": {"temprature": 2.0}})


def test_options_of_a_method_that_is_not_used_are_refused() -> None:
    with pytest.raises(ValueError, match="Options are given for cagrad, which 'dwa' does not use"):
        parse("dwa", tasks=TASKS, options={"cagrad": {"c": 0.2}})

"""Asymmetric distillation against closed forms worked out by hand, and against the optima of its equations."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from napari_mtlpath.training.losses.akd import AkdVariant, AsymmetricDistillation

ONES = {"positive_focus": 0.0, "negative_focus": 0.0, "margin": 0.0}  # both weights are 1: x ** 0


def logit(probability: float) -> torch.Tensor:
    return torch.tensor([math.log(probability / (1.0 - probability))])


def at(loss: AsymmetricDistillation, student: float, teacher: float) -> float:
    return float(loss(logit(student), logit(teacher)))


def gradient(loss: AsymmetricDistillation, student: float, teacher: float) -> float:
    student_logit = logit(student).requires_grad_()
    loss(student_logit, logit(teacher)).backward()
    assert student_logit.grad is not None
    return float(student_logit.grad)


def optimum(teacher: float, loss: AsymmetricDistillation) -> float:
    found = minimize_scalar(lambda p: at(loss, p, teacher), bounds=(1e-4, 1 - 1e-4), method="bounded")
    return float(found.x)


@pytest.mark.parametrize("temperature", [1.0, 2.0, 5.0])
@pytest.mark.parametrize(("student", "teacher"), [(0.3, 0.7), (0.9, 0.05), (0.5, 0.5)])
def test_with_weights_of_one_it_is_the_softened_kl_divergence(
    temperature: float, student: float, teacher: float
) -> None:
    z, z_hat = (1 / (1 + ((1 - p) / p) ** (1 / temperature)) for p in (student, teacher))
    divergence = z_hat * math.log(z_hat / z) + (1 - z_hat) * math.log((1 - z_hat) / (1 - z))
    loss = AsymmetricDistillation(temperature=temperature, **ONES)
    assert at(loss, student, teacher) == pytest.approx(temperature**2 * divergence, abs=1e-5)


def test_the_published_weights_in_numbers() -> None:
    # T = 1 so that z = p: student 0.4, teacher 0.9; omega+ = 0.6, omega- = 0.7 ** 4.
    expected = 0.6 * 0.9 * math.log(0.9 / 0.4) + 0.7**4 * 0.1 * math.log(0.1 / 0.6)
    assert at(AsymmetricDistillation(temperature=1.0), 0.4, 0.9) == pytest.approx(expected, abs=1e-6)


def test_the_printed_term_in_numbers() -> None:
    expected = 0.6 * 0.9 * math.log(0.9 / 0.4) + 0.7**4 * 0.9 * math.log(0.1 / 0.6)
    loss = AsymmetricDistillation(temperature=1.0, variant=AkdVariant.PRINTED)
    assert at(loss, 0.4, 0.9) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("teacher", [0.01, 0.1, 0.2])
def test_below_the_margin_only_the_positive_term_is_left(teacher: float) -> None:
    without = AsymmetricDistillation(negative_focus=9.0)  # the exponent of the second weight then makes no difference
    assert at(AsymmetricDistillation(), 0.4, teacher) == pytest.approx(at(without, 0.4, teacher), abs=1e-7)
    z, z_hat = (1 / (1 + math.sqrt((1 - p) / p)) for p in (0.4, teacher))
    assert at(AsymmetricDistillation(), 0.4, teacher) == pytest.approx(4 * 0.6 * z_hat * math.log(z_hat / z), abs=1e-5)


@pytest.mark.parametrize("teacher", [0.1, 0.5, 0.9])
def test_the_corrected_term_with_weights_of_one_is_best_where_the_teacher_is(teacher: float) -> None:
    assert optimum(teacher, AsymmetricDistillation(**ONES)) == pytest.approx(teacher, abs=0.01)


@pytest.mark.parametrize("teacher", [0.1, 0.5, 0.9])
def test_the_printed_term_with_weights_of_one_is_best_at_a_half_whatever_the_teacher_says(teacher: float) -> None:
    assert optimum(teacher, AsymmetricDistillation(variant=AkdVariant.PRINTED, **ONES)) == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(
    ("teacher", "student"), [(0.02, 0.277), (0.1, 0.431), (0.19, 0.530), (0.3, 0.623), (0.7, 0.811), (0.98, 0.915)]
)
def test_differentiated_weights_give_a_finite_fixed_point(teacher: float, student: float) -> None:
    # Fixed points of eq. 2, computed apart from this code.
    assert optimum(teacher, AsymmetricDistillation()) == pytest.approx(student, abs=0.01)


@pytest.mark.parametrize("student", [0.05, 0.5, 0.95, 0.999])
def test_detached_weights_push_sure_negatives_to_one_without_end(student: float) -> None:
    assert gradient(AsymmetricDistillation(detach_weights=True), student, teacher=0.1) < 0.0


def test_a_student_below_the_teacher_is_pulled_up_and_above_it_down() -> None:
    assert gradient(AsymmetricDistillation(**ONES), 0.3, teacher=0.8) < 0.0
    assert gradient(AsymmetricDistillation(**ONES), 0.8, teacher=0.3) > 0.0


def test_the_gradient_is_that_of_finite_differences() -> None:
    loss = AsymmetricDistillation()
    student, teacher = torch.tensor([0.3, -1.2], requires_grad=True), torch.tensor([1.5, -2.0])
    loss(student, teacher).backward()
    step = 1e-2
    for index in range(2):
        shift = torch.eye(2)[index] * step
        slope = (loss(student.detach() + shift, teacher) - loss(student.detach() - shift, teacher)) / (2 * step)
        assert student.grad is not None
        assert float(student.grad[index]) == pytest.approx(float(slope), abs=1e-3)


def test_the_gradient_keeps_its_size_when_the_temperature_is_high() -> None:
    # T^2 is there for this: d/dl of T^2 KL tends to (l - l_hat) / 4 as T grows.
    slopes = [gradient(AsymmetricDistillation(temperature=t, **ONES), 0.5, teacher=0.7) for t in (20.0, 200.0)]
    expected = -float(logit(0.7)) / 4
    np.testing.assert_allclose(slopes, expected, rtol=0.01)


def test_the_teacher_gets_no_gradient() -> None:
    teacher = torch.tensor([0.4], requires_grad=True)
    student = torch.tensor([0.1], requires_grad=True)
    AsymmetricDistillation()(student, teacher).backward()
    assert teacher.grad is None


def test_extreme_logits_stay_finite() -> None:
    student = torch.tensor([80.0, -80.0, 1e4, -1e4], requires_grad=True)
    loss = AsymmetricDistillation()(student, torch.tensor([-80.0, 80.0, -1e4, 1e4]))
    loss.backward()
    assert loss.isfinite()
    assert student.grad is not None
    assert student.grad.isfinite().all()


@pytest.mark.parametrize(
    "wrong", [{"temperature": 0.0}, {"positive_focus": -1.0}, {"negative_focus": -0.1}, {"margin": 1.0}]
)
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must"):
        AsymmetricDistillation(**wrong)

"""CLAM-SB: gated attention, and the clustering of its extremes by hand."""

import pytest
import torch
from torch import Tensor

from napari_mtlpath.nn.aggregators.clam_sb import ClamSB, smooth_svm
from napari_mtlpath.tasks import Classification, Regression, Task

TASKS: tuple[Task, ...] = (
    Classification(name="witness"),
    Classification(name="grade", classes=("low", "middle", "high")),
    Regression(name="share"),
)
OPTIONS = {"width": 8, "attention_width": 4, "dropout": 0.0, "sampled": 3, "instance_weight": 1.0}
BAG = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))


def built(**options: object) -> ClamSB:
    generator = torch.Generator().manual_seed(1)
    model = ClamSB.build(tasks=TASKS, features=6, options={**OPTIONS, **options}, generator=generator)
    assert isinstance(model, ClamSB)
    return model


def no_criterion(logits: Tensor, label: Tensor) -> Tensor:
    raise AssertionError("the clustering has a loss of its own")


def clustering_by_hand(model: ClamSB, branch: int, label: int, *, exclusive: bool) -> float:
    """Return the instance loss written from the paper's text, tile by tile, in plain numbers."""
    part = model.branches[branch]
    hidden = torch.relu(BAG @ model.projection[0].weight.T + model.projection[0].bias)
    content = torch.tanh(hidden @ part.content[0].weight.T + part.content[0].bias)
    gate = torch.sigmoid(hidden @ part.gate[0].weight.T + part.gate[0].bias)
    ranked = ((content * gate) @ part.score.weight[0]).argsort(descending=True).tolist()
    highest, lowest = ranked[:3], ranked[-3:]

    def hinge(classifier: torch.nn.Linear, tile: int, truth: int) -> float:
        scores = (classifier.weight @ hidden[tile] + classifier.bias).tolist()
        return float(torch.tensor(1.0 + scores[1 - truth] - scores[truth]).exp().log1p())

    own = part.instances[label]
    loss = sum(hinge(own, tile, 1) for tile in highest) / 6 + sum(hinge(own, tile, 0) for tile in lowest) / 6
    if exclusive:
        others = [classifier for number, classifier in enumerate(part.instances) if number != label]
        loss += sum(hinge(classifier, tile, 0) for classifier in others for tile in highest) / 3
    return loss


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize(("branch", "label"), [(0, 0), (0, 1), (1, 0), (1, 2)])
def test_the_instance_loss_is_the_papers_clustering(branch: int, label: int, exclusive: bool) -> None:
    model = built(exclusive_classes=exclusive).train()
    auxiliary = model(BAG).tasks[TASKS[branch].name].auxiliary
    found = float(auxiliary(torch.tensor(float(label)), no_criterion))
    assert found == pytest.approx(clustering_by_hand(model, branch, label, exclusive=exclusive), rel=1e-4)


def test_the_instance_loss_has_its_weight_and_a_regression_has_none() -> None:
    answers = [built(instance_weight=weight).train()(BAG).tasks for weight in (1.0, 0.25)]
    whole, quarter = (float(each["witness"].auxiliary(torch.tensor(1.0), no_criterion)) for each in answers)
    assert quarter == pytest.approx(whole / 4)
    assert answers[0]["share"].auxiliary is None


@pytest.mark.parametrize(("tiles", "taken"), [(1, 0), (2, 1), (5, 2), (17, 3)])
def test_no_tile_is_in_both_extremes(tiles: int, taken: int) -> None:
    model, rows = built().train(), []
    for classifier in model.branches[0].instances:
        classifier.register_forward_hook(lambda _, args, __: rows.append(args[0]))
    loss = model(BAG[:tiles]).tasks["witness"].auxiliary(torch.tensor(1.0), no_criterion)
    assert loss.isfinite()
    seen = rows[0] if rows else BAG[:0]
    assert len(seen) == len(seen.unique(dim=0)) == 2 * taken


def test_the_bags_answer_is_that_of_gated_attention() -> None:
    model = built().eval()
    with torch.inference_mode():
        for answer in model(BAG, explain=True).tasks.values():
            torch.testing.assert_close(answer.attention @ answer.tile_logits, answer.logits)


def test_the_smooth_margin_loss_is_the_hinge_far_from_its_corner() -> None:
    scores = torch.tensor([[0.0, 30.0], [30.0, 0.0], [3.0, 3.0]])
    truth = torch.tensor([1, 1, 0])
    assert float(smooth_svm(scores[:1], truth[:1])) == pytest.approx(0.0, abs=1e-6)
    assert float(smooth_svm(scores[1:2], truth[1:2])) == pytest.approx(31.0)
    assert float(smooth_svm(scores[2:], truth[2:])) == pytest.approx(1.3132617)  # log(1 + e)


def test_a_negative_weight_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="'instance_weight' must be a finite number of at least 0; found -1"):
        built(instance_weight=-1)

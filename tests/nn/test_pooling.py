"""Gated attention and the mean against their equations."""

import torch

from napari_mtlpath.nn.aggregators.abmil import GatedABMIL
from napari_mtlpath.nn.aggregators.mean_pool import MeanPool
from napari_mtlpath.tasks import Classification, Regression

TASKS = (Classification(name="witness"), Regression(name="share"))
BAG = torch.randn(17, 6, generator=torch.Generator().manual_seed(0))


def test_gated_attention_is_equation_nine_of_its_paper() -> None:
    model = GatedABMIL.build(tasks=TASKS, features=6, options={"width": 8, "attention_width": 4}).eval()
    with torch.no_grad():
        answer = model(BAG, explain=True).tasks["share"]
        pool, hidden = model.pools[1], torch.relu(BAG @ model.projection[0].weight.T + model.projection[0].bias)
        content = torch.tanh(hidden @ pool.content.weight.T + pool.content.bias)
        gate = torch.sigmoid(hidden @ pool.gate.weight.T + pool.gate.bias)
        attention = torch.softmax((content * gate) @ pool.score.weight[0], dim=0)
        pooled = (attention[:, None] * hidden).sum(dim=0)
        torch.testing.assert_close(answer.logits, pool.head.weight @ pooled + pool.head.bias)
    torch.testing.assert_close(answer.attention, attention)
    torch.testing.assert_close(answer.embedding, pooled)


def test_gated_attentions_answer_is_the_mean_of_its_tiles_answers_by_attention() -> None:
    model = GatedABMIL.build(tasks=TASKS, features=6, options={"width": 8}).eval()
    with torch.inference_mode():
        for answer in model(BAG, explain=True).tasks.values():
            torch.testing.assert_close(answer.attention @ answer.tile_logits, answer.logits)


def test_the_means_answer_is_the_mean_of_its_tiles_answers() -> None:
    model = MeanPool.build(tasks=TASKS, features=6, options={})
    with torch.inference_mode():
        for answer in model(BAG, explain=True).tasks.values():
            torch.testing.assert_close(answer.tile_logits.mean(dim=0), answer.logits)
            torch.testing.assert_close(answer.embedding, BAG.mean(dim=0))


def test_maps_are_left_out_unless_asked_for() -> None:
    model = GatedABMIL.build(tasks=TASKS, features=6, options={"width": 8})
    answer = model(BAG).tasks["witness"]
    assert answer.attention is None
    assert answer.tile_logits is None

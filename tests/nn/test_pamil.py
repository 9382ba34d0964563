"""Prototype MIL: its gate, class attention and pull, each against the formula written out."""

import math

import pytest
import torch
from torch.nn import functional

from napari_mtlpath.nn.aggregators.pamil import Pamil
from napari_mtlpath.tasks import Classification

BLASTS = Classification(name="blasts")
GRADE = Classification(name="grade", classes=("low", "middle", "high"))


def built(**options: object) -> Pamil:
    generator = torch.Generator().manual_seed(0)
    model = Pamil.build(
        tasks=(BLASTS, GRADE),
        features=5,
        options={"width": 6, "attention_width": 4, "prototypes": 3} | options,
        generator=generator,
    )
    assert isinstance(model, Pamil)
    return model.double().eval()


def bag(tiles: int = 7) -> torch.Tensor:
    return torch.randn(tiles, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_gate_and_class_attention_follow_the_formula_tile_by_tile():
    model, tiles = built(), bag()
    branch = model.branches[1]
    h = functional.normalize(model.projection(tiles), dim=1)
    gate = torch.empty(7, 3, dtype=torch.float64)
    for n in range(7):
        for p in range(3):
            prototype = branch.prototypes[p] / branch.prototypes[p].norm()
            hidden = torch.tanh(branch.content(prototype)) * torch.sigmoid(branch.gate(h[n]))
            gate[n, p] = branch.score(hidden)[0]
    scores = gate @ branch.classes.weight.T + branch.classes.bias
    output = model(tiles, explain=True).tasks["grade"]
    expected = []
    for c in range(3):
        weights = scores[:, c].exp() / scores[:, c].exp().sum()
        pooled = (weights[:, None] * h).sum(0)
        direction, length = (
            branch.head.parametrizations.weight.original1[c],
            branch.head.parametrizations.weight.original0,
        )
        expected.append(length[c, 0] * (direction / direction.norm()) @ pooled + branch.head.bias[c])
        if c == int(output.logits.argmax()):
            torch.testing.assert_close(output.attention, weights, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(output.logits, torch.stack(expected), atol=1e-9, rtol=1e-9)


def test_tiles_and_prototypes_pull_by_their_nearest_partner():
    model, tiles = built(tile_pull=0.3, prototype_pull=0.7).train(), bag()
    pull = model(tiles).tasks["blasts"].auxiliary
    assert pull is not None
    h = functional.normalize(model.projection(tiles), dim=1).tolist()
    prototypes = functional.normalize(model.branches[0].prototypes, dim=1).tolist()
    near = [[math.fsum(a * b for a, b in zip(tile, p, strict=True)) for p in prototypes] for tile in h]
    to_prototype = sum(1 - max(row) for row in near) / 7
    to_tile = sum(1 - max(near[n][p] for n in range(7)) for p in range(3)) / 3
    label = torch.tensor(1.0, dtype=torch.float64)
    found = pull(label, lambda logits, known: logits.sum())
    assert float(found) == pytest.approx(0.3 * to_prototype + 0.7 * to_tile, abs=1e-9)


def test_length_of_features_after_the_projection_does_not_matter():
    model = built()
    model.projection.bias.data.zero_()
    first, second = model(bag()).tasks["blasts"].logits, model(3.0 * bag()).tasks["blasts"].logits
    torch.testing.assert_close(first, second, atol=1e-9, rtol=1e-9)

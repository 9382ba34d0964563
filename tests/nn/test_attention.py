"""Task-isolated attention equals one dense masked attention over [tokens; tiles]."""

import pytest
import torch
from torch import Tensor

from napari_mtlpath.nn.attention import Mixing, TaskIsolatedAttention, attention_over_tiles

WIDTH, HEADS = 24, 4


def dense_masked(layer: TaskIsolatedAttention, tokens: Tensor, tiles: Tensor) -> Tensor:
    """Return all rows after one attention over [tokens; tiles] with a boolean mask, written from the equations."""
    rows = torch.cat([tokens, tiles])
    normed = torch.nn.functional.layer_norm(rows, (WIDTH,), layer.norm.weight, layer.norm.bias)
    query = normed @ layer.query.weight.T + layer.query.bias
    key, value = (normed @ layer.key_value.weight.T + layer.key_value.bias).chunk(2, dim=1)
    count = len(tokens)
    allowed = torch.zeros(len(rows), len(rows), dtype=torch.bool)
    allowed[:, count:] = True  # everyone reads the tiles
    allowed[:count, :count] = torch.eye(count, dtype=torch.bool)  # a token reads itself, no other token
    if layer.mixing is Mixing.NONE:
        allowed[count:] = torch.eye(len(rows), dtype=torch.bool)[count:]
    heads = []
    for head in range(HEADS):
        part = slice(head * WIDTH // HEADS, (head + 1) * WIDTH // HEADS)
        logits = query[:, part] @ key[:, part].T / (WIDTH // HEADS) ** 0.5
        heads.append(torch.softmax(logits.masked_fill(~allowed, -torch.inf), dim=1) @ value[:, part])
    return rows + torch.cat(heads, dim=1) @ layer.output.weight.T + layer.output.bias


@pytest.mark.parametrize(("tiles", "tokens"), [(1, 1), (5, 3), (200, 32)])
def test_split_attention_equals_the_dense_masked_one(tiles: int, tokens: int) -> None:
    torch.manual_seed(0)
    layer = TaskIsolatedAttention(WIDTH, heads=HEADS, dropout=0.0, mixing=Mixing.FULL)
    bag, task_tokens = torch.randn(tiles, WIDTH), torch.randn(tokens, WIDTH)
    memory = layer.remember(bag)
    read = torch.cat([token + layer.read(token, memory).update for token in task_tokens.split(1)])
    expected = dense_masked(layer, task_tokens, bag)
    torch.testing.assert_close(read, expected[:tokens], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(layer.mix(bag, memory), expected[tokens:], atol=1e-5, rtol=1e-5)


def test_without_mixing_tiles_stay_as_they_are_and_tokens_still_read_all_of_them() -> None:
    torch.manual_seed(0)
    layer = TaskIsolatedAttention(WIDTH, heads=HEADS, dropout=0.0, mixing=Mixing.NONE)
    bag, token = torch.randn(9, WIDTH), torch.randn(1, WIDTH)
    memory = layer.remember(bag)
    assert torch.equal(layer.mix(bag, memory), bag)
    read = token + layer.read(token, memory).update
    torch.testing.assert_close(read, dense_masked(layer, token, bag)[:1], atol=1e-5, rtol=1e-5)


def test_weights_multiply_the_attention_before_it_is_normalised() -> None:
    torch.manual_seed(0)
    layer = TaskIsolatedAttention(WIDTH, heads=HEADS, dropout=0.0)
    bag, token = torch.randn(3, WIDTH), torch.randn(1, WIDTH)
    # A tile of weight 2 reads like two copies of it.
    weighted = layer.read(token, layer.remember(bag), torch.tensor([0.0, 2.0, 0.0]).log1p()).update
    copied = layer.read(token, layer.remember(bag[[0, 1, 1, 1, 2]])).update
    torch.testing.assert_close(weighted, copied)


def test_landmarks_mix_tiles_without_regard_to_their_order() -> None:
    torch.manual_seed(0)
    layer = TaskIsolatedAttention(WIDTH, heads=HEADS, dropout=0.0, mixing=Mixing.LANDMARK, landmarks=4)
    bag, order = torch.randn(40, WIDTH), torch.randperm(40)
    mixed = layer.mix(bag, layer.remember(bag))
    torch.testing.assert_close(layer.mix(bag[order], layer.remember(bag[order])), mixed[order])
    changed = bag.clone()
    changed[0] = -bag[0]
    assert not torch.allclose(layer.mix(changed, layer.remember(changed))[1:], mixed[1:])


def test_attention_over_tiles_is_the_tokens_softmax_without_its_own_term() -> None:
    logits = torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0]])
    own = torch.tensor([[4.0], [-1.0]])
    with_own = torch.softmax(torch.cat([own, logits], dim=1), dim=1)[:, 1:]
    expected = (with_own / with_own.sum(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(attention_over_tiles(logits), expected)

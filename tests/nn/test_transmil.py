"""TransMIL and its Nyström attention against exact attention, closed forms and the paper's square."""

import pytest
import torch
from torch.nn import functional

from napari_mtlpath.nn.aggregators.transmil import PyramidPositions, TransMIL, raster_order, square_of
from napari_mtlpath.nn.nystrom import NystromAttention, means, pseudo_inverse
from napari_mtlpath.tasks import Classification, Regression

OPTIONS = {"width": 16, "heads": 4, "landmarks": 8}
TASKS = (Classification(name="witness"), Regression(name="share"))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(**options: object) -> TransMIL:
    model = TransMIL.build(tasks=TASKS, features=6, options={**OPTIONS, **options}, generator=seeded(0))
    assert isinstance(model, TransMIL)
    return model.eval()


def exact(layer: NystromAttention, rows: torch.Tensor) -> torch.Tensor:
    queries, keys, values = (
        part.reshape(len(rows), layer.heads, -1).transpose(0, 1)
        for part in (rows @ layer.query_key_value.weight.T).chunk(3, dim=1)
    )
    weights = torch.softmax(queries @ keys.transpose(1, 2) / keys.shape[2] ** 0.5, dim=2)
    return layer.output((weights @ values).transpose(0, 1).flatten(1))


@torch.no_grad()
def test_with_as_many_landmarks_as_rows_it_is_attention_itself() -> None:
    torch.manual_seed(0)
    layer, rows = NystromAttention(16, heads=4, landmarks=30), torch.randn(30, 16)
    torch.testing.assert_close(layer(rows), exact(layer, rows), atol=1e-5, rtol=1e-5)
    assert layer.weights(rows, first=2).sum(dim=2).allclose(torch.ones(4, 2))


@torch.no_grad()
def test_with_fewer_landmarks_it_is_the_product_of_three_softmaxes() -> None:
    torch.manual_seed(0)
    layer, rows = NystromAttention(16, heads=4, landmarks=6), 2.0 * torch.randn(30, 16)
    heads = []
    for head in range(4):
        query, key, value = (
            rows @ layer.query_key_value.weight[16 * part + 4 * head : 16 * part + 4 * head + 4].T for part in range(3)
        )
        near, far = (torch.stack([run.mean(dim=0) for run in each.split(5)]) for each in (query, key))
        kernels = [torch.softmax(q @ k.T / 2.0, dim=1) for q, k in ((query, far), (near, far), (near, key))]
        heads.append(kernels[0] @ pseudo_inverse(kernels[1][None])[0] @ kernels[2] @ value)
    torch.testing.assert_close(layer(rows), layer.output(torch.cat(heads, dim=1)), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_weights_shown_are_those_that_are_used() -> None:
    torch.manual_seed(0)
    layer, rows = NystromAttention(16, heads=4, landmarks=6), torch.randn(29, 16)
    values = (rows @ layer.query_key_value.weight.T).chunk(3, dim=1)[2].reshape(29, 4, 4).transpose(0, 1)
    by_weights = layer.output((layer.weights(rows, first=29) @ values).transpose(0, 1).flatten(1))
    torch.testing.assert_close(layer(rows), by_weights, atol=1e-5, rtol=1e-5)


def test_the_pseudo_inverse_inverts_a_softmax_matrix() -> None:
    matrices = torch.softmax(2.0 * torch.randn(3, 10, 10, generator=seeded(1), dtype=torch.float64), dim=2)
    matrices = 0.5 * matrices + 0.5 * torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(pseudo_inverse(matrices), torch.linalg.pinv(matrices), atol=1e-6, rtol=1e-6)


def test_landmarks_are_means_of_runs_as_even_as_can_be() -> None:
    rows = torch.arange(22.0).reshape(1, 11, 2)
    found = means(rows, 3)
    torch.testing.assert_close(found[0, 0], rows[0, :3].mean(dim=0))
    torch.testing.assert_close(found[0, 1], rows[0, 3:7].mean(dim=0))
    torch.testing.assert_close(found[0, 2], rows[0, 7:].mean(dim=0))


def test_tiles_fill_the_smallest_square_and_repeat_from_the_first() -> None:
    cpu = torch.device("cpu")
    assert [len(square_of(count, device=cpu)) for count in (1, 2, 4, 5, 9, 10)] == [1, 4, 4, 9, 9, 16]
    assert square_of(5, device=cpu).tolist() == [0, 1, 2, 3, 4, 0, 1, 2, 3]
    assert square_of(2, device=cpu).tolist() == [0, 1, 0, 1]


@torch.no_grad()
def test_positions_are_three_convolutions_over_the_square() -> None:
    torch.manual_seed(0)
    positions, tiles = PyramidPositions(5), torch.randn(16, 5)
    square = tiles.reshape(4, 4, 5)
    expected = square.clone()
    for convolve in positions.convolutions:
        reach = convolve.kernel_size[0] // 2
        padded = functional.pad(square, (0, 0, reach, reach, reach, reach))
        for y in range(4):
            for x in range(4):
                window = padded[y : y + 2 * reach + 1, x : x + 2 * reach + 1]
                expected[y, x] += (window * convolve.weight[:, 0].permute(1, 2, 0)).sum(dim=(0, 1)) + convolve.bias
    torch.testing.assert_close(positions(tiles), expected.reshape(16, 5), atol=1e-5, rtol=1e-5)


def test_raster_order_is_by_y_and_then_x() -> None:
    coordinates = torch.tensor([[1.0, 0.0], [0.0, 5.0], [1.0, -2.0], [0.0, 2.0]])
    assert raster_order(torch.zeros(4, 6), coordinates).tolist() == [3, 1, 2, 0]
    assert raster_order(torch.zeros(4, 6), None).tolist() == [0, 1, 2, 3]


def test_a_bag_in_raster_order_needs_no_coordinates() -> None:
    model, bag = built(), torch.randn(30, 6, generator=seeded(1))
    coordinates = torch.stack([torch.arange(30.0) // 6, torch.arange(30.0) % 6], dim=1)
    with torch.inference_mode():
        given, trusted = model(bag, coordinates).tasks["share"].logits, model(bag).tasks["share"].logits
        other = model(bag, coordinates.flip(0)).tasks["share"].logits
    assert torch.equal(given, trusted)
    assert not torch.allclose(given, other, atol=1e-5)


@pytest.mark.parametrize("tiles", [1, 7, 8, 9, 40])
def test_every_parameter_learns_from_any_length_of_bag(tiles: int) -> None:
    model = built().train()
    output = model(torch.randn(tiles, 6, generator=seeded(1)))
    torch.cat([answer.logits for answer in output.tasks.values()]).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())
    assert all(model.tokens[index].grad.any() for index in range(2))


def test_attention_of_repeated_tiles_is_added_up() -> None:
    model, bag = built(), torch.randn(5, 6, generator=seeded(1))
    with torch.inference_mode():
        shown = model(bag, explain=True).tasks["witness"].attention
    assert shown.shape == (5,)
    torch.testing.assert_close(shown.sum(), torch.tensor(1.0))
    assert (shown > 0).all()

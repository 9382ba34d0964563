"""The joint transformer: equal to torch's own layers, as large as published, isolated on request."""

import pytest
import torch
from torch import Tensor, nn

from napari_mtlpath.nn.aggregators.joint_transformer import JointTransformer
from napari_mtlpath.nn.multihead import MultiHeadAttention
from napari_mtlpath.nn.post_norm import DecoderLayer, EncoderLayer
from napari_mtlpath.tasks import Classification, Regression, Task

FEATURES = 20
SMALL = {"width": 24, "heads": 4, "landmarks": 5}
PAIR: tuple[Task, ...] = (Classification(name="msi"), Regression(name="stroma"))
MANY: tuple[Task, ...] = (*PAIR, Classification(name="grade", classes=("1", "2", "3")), Regression(name="itch"))


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def built(tasks: tuple[Task, ...] = PAIR, **options: object) -> JointTransformer:
    options = {**SMALL, **options}
    model = JointTransformer.build(tasks=tasks, features=FEATURES, options=options, generator=seeded(0))
    assert isinstance(model, JointTransformer)
    return model.eval()


def bag_of(tiles: int) -> Tensor:
    return torch.randn(tiles, FEATURES, generator=seeded(1))


def copy_attention(source: MultiHeadAttention, target: nn.MultiheadAttention) -> None:
    parts = (source.query, source.key, source.value)
    target.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
    target.in_proj_bias.copy_(torch.cat([part.bias for part in parts]))
    target.out_proj.load_state_dict(source.output.state_dict())


def torch_encoder(layer: EncoderLayer) -> nn.TransformerEncoderLayer:
    reference = nn.TransformerEncoderLayer(24, 4, 48, batch_first=True).eval()
    copy_attention(layer.attention, reference.self_attn)
    reference.norm1.load_state_dict(layer.attention_norm.state_dict())
    reference.norm2.load_state_dict(layer.feedforward_norm.state_dict())
    reference.linear1.load_state_dict(layer.feedforward[0].state_dict())
    reference.linear2.load_state_dict(layer.feedforward[3].state_dict())
    return reference


def torch_decoder(layer: DecoderLayer) -> nn.TransformerDecoderLayer:
    reference = nn.TransformerDecoderLayer(24, 4, 48, batch_first=True).eval()
    copy_attention(layer.own, reference.self_attn)
    copy_attention(layer.cross, reference.multihead_attn)
    norms = (layer.own_norm, layer.cross_norm, layer.feedforward_norm)
    for ours, theirs in zip(norms, (reference.norm1, reference.norm2, reference.norm3), strict=True):
        theirs.load_state_dict(ours.state_dict())
    reference.linear1.load_state_dict(layer.feedforward[0].state_dict())
    reference.linear2.load_state_dict(layer.feedforward[3].state_dict())
    return reference


def by_torch(model: JointTransformer, bag: Tensor) -> tuple[Tensor, Tensor]:
    """Return the tokens after torch's own layers with the model's weights, and the last attention over tiles."""
    memory = torch.relu(model.projection[0](bag))[None]
    for layer in model.encoder:
        memory = torch_encoder(layer)(memory)
    tokens = torch.cat(list(model.tokens))[None]
    for layer in model.decoder:
        reference = torch_decoder(layer)
        settled = reference.norm1(tokens + reference.self_attn(tokens, tokens, tokens)[0])
        attention = reference.multihead_attn(settled, memory, memory)[1]
        tokens = reference(tokens, memory)
    return tokens[0], attention[0]


@torch.no_grad()
def test_it_equals_torchs_own_transformer_layers() -> None:
    model, bag = built(MANY), bag_of(31)
    for parameter in model.parameters():  # Norms and biases start at 1 and 0, which would hide an exchange.
        parameter += 0.2 * torch.randn(parameter.shape, generator=seeded(parameter.numel()))
    tokens, attention = by_torch(model, bag)
    output = model(bag, explain=True)
    for index, (task, head) in enumerate(zip(MANY, model.heads, strict=True)):
        answer = output.tasks[task.name]
        torch.testing.assert_close(answer.embedding, tokens[index], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(answer.logits, head(tokens[index]), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(answer.attention, attention[index], atol=1e-5, rtol=1e-5)


def test_the_default_is_as_large_as_published() -> None:
    model = JointTransformer.build(tasks=PAIR, features=768, options={})
    projector = 768 * 384 + 384
    attention, norm, network = 4 * (384 * 384 + 384), 2 * 384, 384 * 768 + 768 + 768 * 384 + 384
    layers = 2 * (attention + network + 2 * norm) + 2 * (2 * attention + network + 3 * norm)
    shared = sum(parameter.numel() for parameter in model.shared_parameters())
    assert shared == projector + layers
    assert shared == pytest.approx(6.215e6, rel=1e-3)  # counted in the published code
    # A token and a head of one logit each; published, the classification has two logits.
    assert sum(parameter.numel() for parameter in model.parameters()) - shared == 2 * (384 + 385)


def test_published_tokens_read_each_other_and_isolated_ones_do_not() -> None:
    bag = bag_of(30)
    for isolate in (False, True):
        model = built(MANY, isolate_queries=isolate)
        with torch.inference_mode():
            before = [answer.logits for answer in model(bag).tasks.values()]
            model.tokens[1] += 1.0
            after = [answer.logits for answer in model(bag).tasks.values()]
        same = [torch.equal(a, b) for a, b in zip(before, after, strict=True)]
        assert same == [isolate, False, isolate, isolate]


def test_isolated_answers_are_the_same_bits_whatever_other_tasks_there_are() -> None:
    many, bag = built(MANY, isolate_queries=True), bag_of(200)
    few = built(PAIR, isolate_queries=True)
    few.load_state_dict({key: value for key, value in many.state_dict().items() if key in few.state_dict()})
    with torch.inference_mode():
        for task, answer in few(bag).tasks.items():
            assert torch.equal(answer.logits, many(bag).tasks[task].logits)


def test_a_single_task_answers_alike_isolated_or_not() -> None:
    bag = bag_of(30)
    with torch.inference_mode():
        together, alone = (built(PAIR[:1], isolate_queries=flag)(bag).tasks["msi"].logits for flag in (False, True))
    assert torch.equal(together, alone)


@pytest.mark.parametrize("isolate", [False, True])
def test_tile_logits_are_the_models_answer_to_each_encoded_tile_alone(isolate: bool) -> None:
    model, bag = built(MANY, isolate_queries=isolate), bag_of(7)
    with torch.inference_mode():
        said = model(bag, explain=True).tasks
        encoded = model.encoder(model.projection(bag)[None])
        model.encoder.register_forward_hook(lambda *_: encoded[:, number : number + 1])
        for number in range(7):
            for task, alone in model(bag).tasks.items():
                torch.testing.assert_close(said[task].tile_logits[number], alone.logits, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("mixing", ["full", "landmark", "none"])
def test_every_parameter_learns_whatever_the_mixing(mixing: str) -> None:
    model = built(MANY, mixing=mixing)
    output = model.train()(bag_of(25))
    torch.cat([answer.logits for answer in output.tasks.values()]).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters())


@pytest.mark.parametrize("mixing", ["landmark", "none"])
def test_linear_mixing_does_not_depend_on_the_order_of_tiles(mixing: str) -> None:
    model, bag, order = built(mixing=mixing), bag_of(60), torch.randperm(60, generator=seeded(2))
    with torch.inference_mode():
        plain, shuffled = model(bag).tasks["msi"].logits, model(bag[order]).tasks["msi"].logits
    torch.testing.assert_close(plain, shuffled, atol=1e-5, rtol=1e-5)


def test_without_mixing_a_tile_is_encoded_by_itself_and_with_it_is_not() -> None:
    bag, changed = bag_of(9), bag_of(9)
    changed[0] = -bag[0]
    for mixing, alone in (("none", True), ("full", False), ("landmark", False)):
        model = built(mixing=mixing)
        with torch.inference_mode():
            before, after = (model.encoder(model.projection(each)[None])[0, 1:] for each in (bag, changed))
        assert torch.allclose(before, after, atol=1e-6) == alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 25}, "multiple of 'heads'"),
        ({"decoder_layers": 0}, "'decoder_layers' must be a whole number of at least 1"),
        ({"mixing": "landmarks"}, "Did you mean 'landmark'"),
        ({"isolate_queries": 1}, "'isolate_queries' must be true or false; found 1"),
        ({"dropout": 1.0}, r"'dropout' must lie in \[0, 1\)"),
    ],
)
def test_impossible_options_of_a_joint_transformer_are_refused_in_words(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        built(**options)

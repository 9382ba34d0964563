"""The MIL baselines against the library torchmil, where it is installed (it is no dependency)."""

import pytest
import torch
from torch import Tensor, nn

from napari_mtlpath.nn.aggregators.clam_sb import ClamSB, smooth_svm
from napari_mtlpath.nn.aggregators.dsmil import DSMIL
from napari_mtlpath.nn.aggregators.transmil import TransMIL
from napari_mtlpath.tasks import Classification

pytest.importorskip("torchmil", reason="torchmil, which the baselines are compared with, is not installed")
TASK = Classification(name="witness")
BAG = torch.randn(40, 10, generator=torch.Generator().manual_seed(0))


class MarginLoss(nn.Module):
    def forward(self, scores: Tensor, truth: Tensor) -> Tensor:
        return smooth_svm(scores, truth.squeeze(1).long())


def logistic(logits: Tensor, label: Tensor) -> Tensor:
    return nn.functional.binary_cross_entropy_with_logits(logits[0], label)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_clam_sb_answers_and_clusters_as_torchmil_does(label: float) -> None:
    from torchmil.models import CLAM_SB

    options = {"width": 10, "attention_width": 8, "dropout": 0.0, "sampled": 6, "instance_weight": 1.0}
    ours = ClamSB.build(tasks=[TASK], features=10, options=options, generator=torch.Generator().manual_seed(1)).train()
    branch = ours.branches[0]
    theirs = CLAM_SB(in_shape=(10,), att_dim=8, att_act="tanh", k_sample=6, gated=True)
    copied = {
        "fc1.module.weight": branch.content[0].weight,
        "fc1.module.bias": branch.content[0].bias,
        "fc_gated.module.weight": branch.gate[0].weight,
        "fc_gated.module.bias": branch.gate[0].bias,
        "fc2.weight": branch.score.weight,
    }
    theirs.pool.load_state_dict(copied)  # its score has no bias, which a softmax would take out again
    theirs.classifier.module.load_state_dict(branch.head.state_dict())
    for theirs_part, part in zip(theirs.inst_classifiers, branch.instances, strict=True):
        theirs_part.module.load_state_dict(part.state_dict())
    hidden = ours.projection(BAG)
    # Of their margin loss only the maximum is left, and rows meet others' labels (torchmil 1.0.2): compare the rest.
    theirs.inst_loss_fn = MarginLoss()
    logit, losses = theirs.compute_loss(torch.tensor([label]), hidden[None])
    answer = ours(BAG).tasks["witness"]
    torch.testing.assert_close(answer.logits, logit, atol=1e-5, rtol=1e-5)
    auxiliary = answer.auxiliary(torch.tensor(label), logistic)
    torch.testing.assert_close(auxiliary, losses["InstLoss"], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("label", [0.0, 1.0])
def test_dsmil_answers_and_costs_as_torchmil_does(label: float) -> None:
    from torchmil.models import DSMIL as TheirDSMIL

    options = {"width": 12, "query_width": 8, "dropout": 0.0}
    ours = DSMIL.build(tasks=[TASK], features=10, options=options, generator=torch.Generator().manual_seed(1)).train()
    stream = ours.streams[0]
    theirs = TheirDSMIL(in_shape=(12,), att_dim=8)
    theirs.q_nn.load_state_dict(stream.query.state_dict())
    theirs.v_nn = stream.value  # theirs is the identity or has a ReLU; the paper's is linear
    theirs.inst_classifier.load_state_dict(stream.heads["tile"].state_dict())
    theirs.bag_classifier.load_state_dict(stream.heads["bag"].state_dict())
    logit, losses = theirs.compute_loss(torch.tensor([label]), ours.projection(BAG)[None])
    answer = ours(BAG).tasks["witness"]
    torch.testing.assert_close(answer.logits, logit, atol=1e-5, rtol=1e-5)
    auxiliary = answer.auxiliary(torch.tensor(label), logistic)
    torch.testing.assert_close(auxiliary, 0.5 * sum(losses.values()), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_transmil_answers_as_torchmil_does_where_its_runs_divide() -> None:
    from torchmil.models import TransMIL as TheirTransMIL

    # A square of 5 x 5 and one token are 26 rows in 13 runs of 2: nothing is padded.
    options = {"width": 16, "heads": 4, "landmarks": 13, "dropout": 0.0}
    model = TransMIL.build(
        tasks=[TASK], features=10, options=options, generator=torch.Generator().manual_seed(1)
    ).eval()
    theirs = TheirTransMIL(in_shape=(16,), att_dim=16, n_heads=4, n_landmarks=13, pinv_iterations=6).eval()
    theirs.cls_token.copy_(model.tokens[0][None])
    for part, own in zip(("proj", "proj1", "proj2"), model.positions.convolutions, strict=True):
        getattr(theirs.pos_layer, part).load_state_dict(own.state_dict())
    for layer, own in zip(theirs.layers, (model.first, model.last), strict=True):
        layer.norm1.load_state_dict(own.norm.state_dict())
        layer.att_module.qkv_nn.weight.copy_(own.attention.query_key_value.weight)
        own.attention.output = nn.Identity()  # theirs has none where widths agree
    theirs.norm.load_state_dict(model.heads[0].norm.state_dict())
    theirs.classifier.load_state_dict(model.heads[0].linear.state_dict())
    bag = BAG[:23]
    logit = theirs(model.projection(bag)[None])
    torch.testing.assert_close(model(bag).tasks["witness"].logits, logit, atol=1e-3, rtol=1e-3)

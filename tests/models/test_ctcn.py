from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from videozoo.models.ctcn import (
    CTCN,
    CTCNOutput,
    CTCNSettings,
    level_lengths,
    losses,
    paddle_names,
)

SMALL: dict[str, Any] = {"num_classes": 3, "feature_dim": 2, "num_steps": 40}


def made(**changes: Any) -> CTCN:
    torch.manual_seed(0)
    return CTCN(CTCNSettings(**(SMALL | changes)))


@pytest.mark.parametrize("num_steps", [40, 33, 7])
def test_anchors_follow_from_the_length(num_steps: int):
    module = made(num_steps=num_steps).eval()

    with torch.no_grad():
        outputs = module(torch.randn(2, 2, num_steps))

    anchors = 7 * sum(level_lengths(num_steps))
    assert outputs.offsets.shape == (2, anchors, 2)
    assert outputs.logits.shape == (2, anchors, 3)
    assert (outputs.offsets.abs() < 5).all()


def test_a_level_s_anchors_stand_position_by_position():
    module = made().eval()
    level = torch.randn(1, 512, 4, 2)

    with torch.no_grad():
        values = module.classes(level)
        maps = module.classes.conv2(module.classes.conv1(0.5 * level))  # 0.5: dropout's share

    for position, anchor, label in ((0, 0, 0), (1, 2, 1), (3, 6, 2)):
        torch.testing.assert_close(
            values[0, 7 * position + anchor, label], maps[0, 3 * anchor + label, position, 0]
        )


def test_names_are_numbered_in_the_order_of_creation():
    names = {key: place.name for key, place in paddle_names(CTCNSettings(**SMALL)).items()}

    tensors = {key for key in made().state_dict() if "num_batches_tracked" not in key}
    assert names.keys() == tensors
    assert len(set(names.values())) == len(names)
    assert names["backbone.stages.0.0.shortcut.0.weight"] == "conv2d_5.w_0"
    assert names["backbone.stages.3.2.conv3.weight"] == "conv2d_53.w_0"
    assert names["pyramid.coarser.0.bias"] == "conv2d_54.b_0"
    assert names["pyramid.lateral.0.weight"] == "conv2d_58.w_0"
    assert names["pyramid.smooth.2.weight"] == "conv2d_64.w_0"
    assert names["offsets.conv1.weight"] == "loc_pred_conv1_weights"


def batch(labels: list[list[int]]) -> tuple[CTCNOutput, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    n, anchors = len(labels), len(labels[0])

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    outputs = CTCNOutput(2 * normal(n, anchors, 2), normal(n, anchors, 4))
    for out in outputs:
        out.requires_grad_()
    return outputs, {"offsets": normal(n, anchors, 2), "labels": torch.tensor(labels)}


def of_2019(outputs: CTCNOutput, targets: dict[str, Tensor]) -> list[Tensor]:
    """Video by video, anchor by anchor."""
    zero = torch.zeros((), dtype=torch.float64)
    positives, place, entropies = 0, zero, zero
    for video, labels in enumerate(targets["labels"].tolist()):
        chosen = [i for i, label in enumerate(labels) if label > 0]
        loss = [
            -outputs.logits[video, i].log_softmax(0)[label] if label >= 0 else zero
            for i, label in enumerate(labels)
        ]
        others = sorted(set(range(len(labels))) - set(chosen), key=lambda i: -loss[i].item())
        entropies = entropies + sum(loss[i] for i in chosen + others[: 3 * len(chosen)])
        for i in chosen:
            for d in outputs.offsets[video, i] - targets["offsets"][video, i]:
                place = place + (0.5 * d * d if d.abs() < 1 else d.abs() - 0.5)
        positives += len(chosen)
    place, entropies = 2 * place / positives, entropies / positives
    return [place + entropies, place, entropies]


@pytest.mark.parametrize(
    "labels",
    [
        [[0, 0, 1, 0, 0, 0, 0, 0, 0], [0, 3, 0, 0, 2, 0, 0, 0, 0]],
        [[0, 0, 1, 0, -1, 0, -1, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0]],  # ignored; one without
        [[1, 2, 3, 0, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0, 0, 0, 1]],  # more wanted than there are
    ],
)
def test_losses_are_the_formula_of_2019(labels: list[list[int]]):
    outputs, targets = batch(labels)

    found = losses(outputs, targets)

    assert list(found) == ["loss", "localisation", "classification"]
    torch.testing.assert_close(list(found.values()), of_2019(outputs, targets))


def test_only_positives_and_the_hardest_others_learn():
    outputs, targets = batch([[0, 2, 0, 0, 0, 0, 0, 0]])

    losses(outputs, targets)["loss"].backward()

    assert outputs.logits.grad is not None
    assert outputs.offsets.grad is not None
    learnt = outputs.logits.grad.abs().sum(2)[0] > 0
    entropy = F.cross_entropy(outputs.logits[0], targets["labels"][0], reduction="none")
    others = entropy.detach().clone()
    others[1] = -1
    assert set(learnt.nonzero().flatten().tolist()) == {1, *others.topk(3).indices.tolist()}
    assert (outputs.offsets.grad.abs().sum(2)[0] > 0).nonzero().flatten().tolist() == [1]


def test_without_a_positive_nothing_is_learnt():
    outputs, targets = batch([[0, 0, -1, 0], [0, 0, 0, 0]])

    found = losses(outputs, targets)
    found["loss"].backward()

    assert all(loss == 0 for loss in found.values())
    assert outputs.logits.grad is not None
    assert not outputs.logits.grad.any()

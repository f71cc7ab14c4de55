from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from videozoo.models.nextvlad import (
    NeXtVLAD,
    NeXtVLADSettings,
    Vlad,
    VladStream,
    parameter_rules,
)

SMALL: dict[str, Any] = {
    "num_classes": 5,
    "streams": (VladStream(name="rgb", dim=6, size=8), VladStream(name="audio", dim=4)),
    "cluster_size": 3,
    "groups": 4,
    "hidden_size": 16,
    "dropout": 0.0,
}


def made() -> tuple[NeXtVLAD, list[Tensor], Tensor]:
    torch.manual_seed(0)
    streams = [torch.randn(3, 7, 6), torch.randn(3, 7, 4)]
    return NeXtVLAD(NeXtVLADSettings(**SMALL)).eval(), streams, torch.tensor([7, 2, 5])


def test_the_order_of_the_frames_does_not_matter():
    module, streams, _ = made()
    lengths, order = torch.tensor([7, 7, 7]), torch.randperm(7)

    shuffled = module([stream[:, order] for stream in streams], lengths)

    torch.testing.assert_close(shuffled, module(streams, lengths))


def test_gathers_what_the_paper_s_sum_says():
    """Over frames, groups, clusters and values one by one."""
    module, streams, _ = made()
    vlad = module.vlads[0].double().train()
    assert isinstance(vlad, Vlad)
    frames, mask = streams[0].double(), torch.arange(7) < torch.tensor([7, 2, 5])[:, None]
    vlad.bn = torch.nn.Identity()  # type: ignore[assignment]

    ours = vlad(frames, mask)

    wide = vlad.expand(frames)
    scores = vlad.assign(wide[mask])
    scores = (scores - scores.mean(0)) / (scores.var(0, correction=0) + 1e-5).sqrt()
    choice = scores.unflatten(1, (4, 3)).softmax(2)
    say = torch.sigmoid(vlad.group_attention(wide[mask]))
    parts = wide[mask].unflatten(1, (4, 4))
    expected = torch.zeros(3, 3, 4, dtype=torch.float64)
    for row, video in enumerate(mask.nonzero()[:, 0].tolist()):
        for group in range(4):
            for k in range(3):
                weight = choice[row, group, k] * say[row, group]
                expected[video, k] += weight * (parts[row, group] - vlad.centres[k])
    expected = expected.transpose(1, 2)
    expected = expected / (expected.square().sum(1, keepdim=True) + 1e-12).sqrt()
    torch.testing.assert_close(ours, expected.flatten(1))


def test_padding_enters_no_statistic():
    module, streams, lengths = made()
    module.double().train()  # norms of three videos enlarge rounding
    streams = [stream.double() for stream in streams]
    others = [torch.cat((stream, 100 * torch.rand_like(stream)), dim=1) for stream in streams]
    before = {k: v.clone() for k, v in module.state_dict().items()}

    module(streams, lengths)
    plain = {k: v.clone() for k, v in module.state_dict().items()}
    module.load_state_dict(before)
    module(others, lengths)

    statistics = [key for key in plain if "running" in key]
    assert len(statistics) == 2 * 6
    for key in statistics:
        torch.testing.assert_close(module.state_dict()[key], plain[key])
        assert key.endswith("mean") or not torch.equal(plain[key], before[key])


def test_the_first_stream_alone_is_scaled_by_the_eigenvalues():
    module, streams, lengths = made()
    scale = torch.rand(6) + 0.5
    expected = module([streams[0] * scale, streams[1]], lengths)

    module.eigen_scale.copy_(scale)

    torch.testing.assert_close(module(streams, lengths), expected)
    assert "eigen_scale" in module.state_dict()
    assert "eigen_scale" not in dict(module.named_parameters())


def test_only_the_classifier_decays():
    module, _, _ = made()

    rules = parameter_rules(module)

    assert {name for name, rule in rules.items() if rule.decay == "weights"} == {
        "head.weight",
        "head.bias",
    }
    assert rules.keys() == dict(module.named_parameters()).keys()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"groups": 3}, r"groups: 16 values per frame of 'rgb' .* cut into 3 equal parts"),
        ({"hidden_size": 4}, "gating_reduction: 8 is more than the hidden_size 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong: dict[str, Any], message: str):
    with pytest.raises(ValidationError, match=message):
        NeXtVLADSettings(**(SMALL | wrong))

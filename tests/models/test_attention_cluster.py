import torch
from torch import Tensor

from videozoo.models.attention_cluster import (
    AttentionCluster,
    AttentionClusterSettings,
    ClusterStream,
    feature_shape,
)

SMALL = AttentionClusterSettings(
    num_classes=5,
    streams=(
        ClusterStream(name="rgb", dim=6, clusters=3),
        ClusterStream(name="audio", dim=4, clusters=2),
    ),
    num_frames=7,
    hidden_sizes=(8, 9),
)


def made() -> tuple[AttentionCluster, list[Tensor], Tensor]:
    torch.manual_seed(0)
    streams = [torch.randn(3, 7, 6), torch.randn(3, 7, 4)]
    return AttentionCluster(SMALL).eval(), streams, torch.tensor([7, 2, 5])


def test_the_order_of_the_frames_does_not_matter():
    module, streams, _ = made()
    lengths, order = torch.tensor([7, 7, 7]), torch.randperm(7)

    shuffled = module([stream[:, order] for stream in streams], lengths)

    torch.testing.assert_close(shuffled, module(streams, lengths))


def test_all_frames_twice_are_no_other_video():
    module, streams, _ = made()
    twice = [stream.repeat_interleave(2, dim=1) for stream in streams]

    torch.testing.assert_close(
        module(twice, torch.tensor([14, 14, 14])), module(streams, torch.tensor([7, 7, 7]))
    )


def test_every_cluster_has_the_length_of_its_share():
    module, streams, lengths = made()
    attention, frames = module.attentions[0], streams[0]

    clusters = attention(frames, torch.arange(7) < lengths[:, None]).unflatten(1, (3, 6))

    torch.testing.assert_close(clusters.norm(dim=2), torch.full((3, 3), 3**-0.5))


def test_frames_are_drawn_as_many_as_set():
    assert feature_shape(SMALL).num_frames == 7
    assert feature_shape(AttentionClusterSettings(num_frames=None)).num_frames is None

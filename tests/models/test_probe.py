"""Probe: pooling over the real vectors, then a linear layer."""

from __future__ import annotations

import torch

from videozoo.models.probe import Probe, ProbeSettings
from videozoo.types import Stream


def test_mean_and_deviation_are_those_of_the_real_vectors():
    streams = (Stream(name="rgb", dim=3), Stream(name="audio", dim=2))
    probe = Probe(ProbeSettings(num_classes=2, streams=streams, pooling=("mean", "std")))
    rgb, audio = torch.randn(2, 4, 3), torch.randn(2, 4, 2)
    lengths = torch.tensor([4, 2])

    found = probe.pooled([rgb, audio], lengths)

    for row, length in enumerate(lengths.tolist()):
        parts = [
            part
            for vectors in (rgb[row, :length], audio[row, :length])
            for part in (vectors.mean(0), vectors.std(0, unbiased=False))
        ]
        torch.testing.assert_close(found[row], torch.cat(parts))


def test_rows_are_standardised_to_a_length_of_about_1():
    probe = Probe(ProbeSettings(num_classes=2, streams=(Stream(name="rgb", dim=50),)))
    pooled = 3 + 5 * torch.randn(40, 50)
    pooled[:, 7] = 2  # tells nothing

    probe.standardise(pooled)

    rows = (pooled - probe.mean) * probe.scale
    assert rows[:, 7].abs().max() == 0
    torch.testing.assert_close(rows.square().sum(1).mean(), torch.tensor(1.0), atol=1e-3, rtol=0)


def test_roots_are_taken_where_no_value_is_below_0():
    streams = (Stream(name="rgb", dim=4),)
    settings = ProbeSettings(num_classes=2, streams=streams, root=True)
    after_relu = torch.rand(6, 4)
    for pooled in (after_relu, after_relu - 0.5):
        probe, plain = Probe(settings), Probe(settings.model_copy(update={"root": False}))
        expected = pooled.sqrt() if pooled is after_relu else pooled
        probe.standardise(pooled)
        plain.standardise(expected)
        torch.testing.assert_close(probe.standardised(pooled), plain.standardised(expected))
        # what was decided is kept with the weights
        again = Probe(settings)
        again.load_state_dict(probe.state_dict())
        torch.testing.assert_close(again.standardised(pooled), probe.standardised(pooled))
    assert "rooted" not in plain.state_dict()  # weights from before roots load

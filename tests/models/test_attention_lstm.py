import torch
from torch import Tensor

from videozoo.models.attention_lstm import AttentionLSTM, AttentionLSTMSettings, parameter_rules
from videozoo.types import Stream

SMALL = AttentionLSTMSettings(
    num_classes=5,
    streams=(Stream(name="rgb", dim=6), Stream(name="audio", dim=4)),
    embedding_size=3,
    lstm_size=4,
    hidden_sizes=(8, 9),
)


def made() -> tuple[AttentionLSTM, list[Tensor], Tensor]:
    torch.manual_seed(0)
    streams = [torch.randn(3, 7, 6), torch.randn(3, 7, 4)]
    return AttentionLSTM(SMALL).eval(), streams, torch.tensor([7, 2, 5])


def test_the_order_of_the_frames_matters():
    module, streams, _ = made()

    backwards = module([stream.flip(1) for stream in streams], torch.tensor([7, 7, 7]))

    assert not torch.allclose(backwards, module(streams, torch.tensor([7, 7, 7])), atol=1e-4)


def test_each_way_only_knows_the_frames_it_has_read():
    module, streams, _ = made()
    other = [stream.clone() for stream in streams]
    for stream in other:
        stream[:, 4] += 1

    before, after = (
        module._states(given, torch.tensor([7, 7, 7]))[0] for given in (streams, other)
    )

    changed = (before != after).unflatten(2, (2, 4)).any(3)
    assert changed[:, :, 0].tolist() == [[False] * 4 + [True] * 3] * 3
    assert changed[:, :, 1].tolist() == [[True] * 5 + [False] * 2] * 3


def test_reading_backwards_starts_at_a_video_s_own_last_frame():
    module, streams, lengths = made()

    states = module._states(streams, lengths)[0]

    for video, length in enumerate(lengths.tolist()):
        alone = module._states(
            [stream[video, None, :length] for stream in streams], torch.tensor([length])
        )[0]
        torch.testing.assert_close(states[video, :length], alone[0])


def test_only_biases_of_fully_connected_layers_do_not_decay():
    module, _, _ = made()

    free = {name for name, rule in parameter_rules(module).items() if rule.decay == "none"}

    names = dict(module.named_parameters())
    assert free == {name for name in names if name.endswith(".bias")}
    assert {name for name in names if ".bias." in name} == {
        f"readers.{stream}.bias.{way}" for stream in range(2) for way in range(2)
    }

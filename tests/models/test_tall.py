from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import Tensor
from torch.nn import functional as F

from videozoo.models import tall
from videozoo.models.tall import TALL, TALLSettings, losses, paddle_names

quick = settings(max_examples=20, deadline=None)

SMALL = TALLSettings(visual_dim=9, sentence_dim=5, semantic_size=4, hidden_size=6)


def build(**changes: Any) -> TALL:
    torch.manual_seed(0)
    return TALL(SMALL.model_copy(update=changes)).double()


def inputs(clips: int, sentences: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(clips + 10 * sentences)
    return (
        torch.randn(clips, 9, generator=generator, dtype=torch.float64),
        torch.randn(sentences, 5, generator=generator, dtype=torch.float64),
    )


def plain(module: TALL, clip: Tensor, sentence: Tensor) -> Tensor:
    """One pair, as the paper writes it."""
    a, b = module.clips.weight @ clip, module.sentences.weight @ sentence
    a, b = (x / (x.square().sum() + 1e-12).sqrt() for x in (a, b))
    hidden = torch.relu(module.fuse.weight[:, :, 0, 0] @ torch.cat((a * b, a + b, a, b)))
    return module.head.weight[:, :, 0, 0] @ hidden


@quick
@given(st.integers(0, 5), st.integers(0, 4))
def test_a_grid_compares_every_sentence_with_every_clip(clips: int, sentences: int):
    module, (visual, asked) = build(), inputs(clips, sentences)

    grid = module.grid(visual, asked)

    assert grid.shape == (3, sentences, clips)
    for i in range(sentences):
        for j in range(clips):
            torch.testing.assert_close(grid[:, i, j], plain(module, visual[j], asked[i]))


@quick
@given(st.integers(1, 5))
def test_pairs_are_the_diagonal_of_the_grid(count: int):
    module, (visual, asked) = build(), inputs(count, count)

    pairs = module.pairs(visual, asked)

    torch.testing.assert_close(pairs, module(visual, asked).diagonal(dim1=1, dim2=2).T)


def test_a_large_grid_is_computed_piece_by_piece_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
):
    module, (visual, asked) = build(), inputs(4, 7)
    whole = module.grid(visual, asked)

    monkeypatch.setattr(tall, "_PAIRS_AT_ONCE", 9)

    torch.testing.assert_close(module.grid(visual, asked), whole)


@quick
@given(st.integers(1, 6), st.floats(0.1, 50))
def test_the_loss_is_the_formula(size: int, scale: float):
    generator = torch.Generator().manual_seed(size)
    outputs = scale * torch.randn(3, size, size, generator=generator)
    offsets = torch.randn(size, 2, generator=generator)

    found = losses(outputs, offsets)

    alignment = 0.0
    for i in range(size):
        for j in range(size):
            sign = -1 if i == j else 1
            weight = (i == j) + 1 / size
            term = torch.log1p(torch.exp((sign * outputs[0, i, j]).double()))
            alignment += weight * term.item() / size**2
    distances = [
        abs(outputs[1 + k, i, i] - offsets[i, k]).item() for i in range(size) for k in range(2)
    ]
    assert found.alignment.item() == pytest.approx(alignment, rel=1e-4)
    assert found.regression.item() == pytest.approx(sum(distances) / len(distances), rel=1e-4)
    assert found.total.item() == pytest.approx(
        found.alignment.item() + 0.01 * found.regression.item()
    )


def test_similarities_of_any_size_give_finite_losses_and_gradients():
    outputs = torch.full((3, 2, 2), 1e4, requires_grad=True)

    loss = losses(outputs, torch.zeros(2, 2)).total
    loss.backward()

    assert loss.isfinite()
    assert outputs.grad is not None
    assert outputs.grad.isfinite().all()


def test_a_zero_vector_is_no_accident():
    module = build()

    assert module.grid(torch.zeros(1, 9).double(), torch.zeros(1, 5).double()).isfinite().all()


def test_every_parameter_learns():
    module, (visual, asked) = build(), inputs(3, 3)

    losses(module(visual, asked), torch.ones(3, 2)).total.backward()

    assert all(p.grad is not None and p.grad.any() for p in module.parameters())


def test_it_learns_which_sentence_belongs_to_which_clip():
    module, (visual, asked) = build(hidden_size=32), inputs(4, 4)
    module.float()
    visual, asked = visual.float(), asked.float()
    offsets = torch.tensor([[1.0, -1.0], [2.0, 0.0], [-2.0, 1.0], [0.0, 3.0]])
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)

    for _ in range(150):
        optimizer.zero_grad()
        losses(module(visual, asked), offsets).total.backward()
        optimizer.step()

    similarity = module.grid(visual, asked)[0]
    assert similarity.argmax(1).tolist() == [0, 1, 2, 3]
    assert F.l1_loss(module.pairs(visual, asked)[:, 1:], offsets) < 0.5


def test_names_and_shapes_are_those_of_2019():
    module, names = build(), paddle_names(SMALL)

    shapes = {names[key].name: tuple(t.shape) for key, t in module.state_dict().items()}

    assert shapes == {
        "v2s_lt_weights": (4, 9),
        "s2s_lt_weights": (4, 5),
        "mid_out_weights": (6, 16, 1, 1),
        "sim_mat_weights": (3, 6, 1, 1),
    }
    assert [names[key].transpose for key in module.state_dict()] == [True, True, False, False]


@pytest.mark.parametrize("key", ["visual_dim", "sentence_dim", "semantic_size", "hidden_size"])
def test_sizes_that_cannot_be_are_refused(key: str):
    with pytest.raises(ValidationError):
        TALLSettings(**{key: 0})

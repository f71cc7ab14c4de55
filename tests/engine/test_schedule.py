import itertools
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.schedule import (
    LearningRate,
    cosine,
    make_schedule,
    noam,
    piecewise,
    steps_per_epoch,
    warm_up,
)
from videozoo.engine.settings import TrainSettings
from videozoo.types import ParameterRule

boundaries = st.lists(st.floats(0.1, 50), max_size=4, unique=True).map(sorted)


@given(boundaries=boundaries, step=st.integers(0, 60))
def test_piecewise_takes_the_first_rate_whose_boundary_is_ahead(boundaries: list[float], step: int):
    rates = [1 / 2**k for k in range(len(boundaries) + 1)]

    expected = next((r for b, r in zip(boundaries, rates, strict=False) if step < b), rates[-1])

    assert piecewise(step, boundaries, rates) == expected


def test_boundary_one_means_the_second_step_is_slower():
    assert [piecewise(step, [1], [1.0, 0.1]) for step in range(3)] == [1.0, 0.1, 0.1]


def test_rates_must_fit_boundaries():
    with pytest.raises(ValueError, match="2 boundaries need 3 rates, got 2"):
        piecewise(0, [1, 2], [1.0, 0.1])


@given(total=st.integers(1, 50), start=st.floats(0.01, 1), share=st.floats(0, 1))
def test_cosine_falls_from_start_to_end_and_stays(total: int, start: float, share: float):
    end = share * start
    rates = [cosine(step, total_steps=total, start=start, end=end) for step in range(total + 3)]

    assert rates[0] == pytest.approx(start)
    assert rates[total:] == [pytest.approx(end)] * 3
    assert all(a >= b - 1e-12 for a, b in itertools.pairwise(rates))


@given(warmup_steps=st.floats(0, 20))
def test_warm_up_rises_to_one_and_never_starts_at_zero(warmup_steps: float):
    factors = [warm_up(step, warmup_steps) for step in range(25)]

    assert factors == sorted(factors)
    assert factors[0] > 0
    assert factors[-1] == 1.0


@given(videos=st.integers(1, 500), batch=st.integers(1, 40))
def test_steps_cover_the_list_once(videos: int, batch: int):
    steps = steps_per_epoch(videos, batch)

    assert (steps - 1) * batch < videos <= steps * batch
    assert steps_per_epoch(videos, batch, drop_last=True) == max(videos // batch, 1)


def test_videos_per_epoch_counts_by_the_rule_of_2019():
    assert steps_per_epoch(10, 128, videos_per_epoch=239781) == 1874
    assert steps_per_epoch(10, 4, videos_per_epoch=8) == 3


def test_thirds_of_an_odd_run_fall_between_steps():
    settings = TrainSettings(
        epochs=5, learning_rate=1, schedule="steps", decay_at=(5 / 3, 10 / 3), decay_factor=0.5
    )
    rate = make_schedule(settings, 2)  # boundaries at 3.33 and 6.67

    assert [rate(step) for step in range(10)] == [1, 1, 1, 1, 0.5, 0.5, 0.5, 0.25, 0.25, 0.25]


def test_decay_may_be_counted_in_steps():
    settings = TrainSettings(
        learning_rate=1, schedule="steps", decay_at=(2, 3), decay_unit="steps", decay_factor=0.5
    )
    rate = make_schedule(settings, 1000)

    assert [rate(step) for step in range(5)] == [1, 1, 0.5, 0.25, 0.25]


def test_constant_stays():
    rate = make_schedule(TrainSettings(learning_rate=0.3), 7)

    assert {rate(step) for step in range(30)} == {0.3}


def test_cosine_takes_over_where_the_warm_up_ends():
    settings = TrainSettings(
        epochs=4, learning_rate=1, schedule="cosine", warmup_epochs=1, final_learning_rate=0.25
    )
    rates = [make_schedule(settings, 4)(step) for step in range(17)]

    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[16] == pytest.approx(0.25)


@given(size=st.integers(1, 600), warmup=st.integers(1, 40))
def test_noam_rises_in_a_line_and_falls_as_a_root(size: int, warmup: int):
    rates = [noam(step, size=size, warmup_steps=warmup) for step in range(4 * warmup)]

    assert rates[0] == pytest.approx(rates[warmup - 1] / warmup)
    assert max(rates) == rates[warmup - 1] == pytest.approx((size * warmup) ** -0.5)
    assert rates[-1] == pytest.approx(rates[warmup - 1] / 2)


def test_noam_sets_the_rate_whatever_learning_rate_says():
    settings = TrainSettings(schedule="noam", noam_size=512, learning_rate=7.0, batch_size=4)
    rate = make_schedule(settings, 10)

    assert rate(0) == pytest.approx(512**-0.5 * 1000**-1.5)
    assert rate(999) == pytest.approx(1 / 512_000**0.5)


def test_each_group_follows_by_its_own_factor():
    module = nn.Linear(2, 2)
    settings = TrainSettings(learning_rate=1, schedule="steps", decay_at=(1,), epochs=2)
    optimizer = build_optimizer(
        module, {"bias": ParameterRule(learning_rate_factor=2.0, decay="none")}, settings
    )
    rate = LearningRate(optimizer, make_schedule(settings, 1))

    seen = [(rate.set(step), [g["lr"] for g in optimizer.param_groups]) for step in range(2)]

    assert seen == [(1.0, [1.0, 2.0]), (pytest.approx(0.1), [pytest.approx(0.1), 0.2])]


def test_new_groups_start_at_their_own_rate():
    optimizer = build_optimizer(
        nn.Linear(2, 2), {"bias": ParameterRule(learning_rate_factor=2.0)}, TrainSettings()
    )

    assert {group["lr"] for group in optimizer.param_groups} == {0.01, 0.02}
    assert all(isinstance(group["params"][0], torch.Tensor) for group in optimizer.param_groups)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "steps"])
def test_rates_meant_for_another_batch_are_scaled_to_this_one(schedule: Any):
    values = dict[str, Any](learning_rate=0.08, epochs=4, warmup_epochs=1, schedule=schedule)
    values |= {"decay_at": (2, 3)} if schedule == "steps" else {}
    values |= {"final_learning_rate": 0.008} if schedule == "cosine" else {}
    plain = make_schedule(TrainSettings(**values, batch_size=16), 5)
    scaled = make_schedule(TrainSettings(**values, batch_size=16, learning_rate_batch_size=128), 5)

    assert [scaled(step) for step in range(25)] == pytest.approx(
        [plain(step) / 8 for step in range(25)]
    )

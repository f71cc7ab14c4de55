"""A model is run over batches; results, counts and what could not be used are put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from videozoo.data.loader import EvalLoader
from videozoo.engine.devices import make_accelerator
from videozoo.metrics.tagging import TaggingCounter
from videozoo.tasks.inference import InferenceResults, MeanLosses, run
from videozoo.tasks.tagging.scoring import TagCounts


@dataclass
class Batch:
    """Numbers, some of which are damaged."""

    numbers: Tensor
    damaged: dict[int, str] = field(default_factory=dict[int, str])


class Batches:
    """Two batches out of order; a number is skipped."""

    def __init__(self) -> None:
        self.skipped = {0: "zero: unreadable"}

    def __iter__(self) -> Iterator[Batch]:
        yield Batch(torch.tensor([3, 1]), {0: "zero: cut short"})
        yield Batch(torch.tensor([2]), {2: "two: cut short"})


class Doubling:
    """The "model" doubles numbers."""

    def __init__(self) -> None:
        self.batches = cast(EvalLoader[Any], Batches())
        self.counter = MeanLosses()
        self.were_in_inference: list[bool] = []

    def forward(self, batch: Batch) -> Tensor:
        self.were_in_inference.append(torch.is_inference_mode_enabled())
        return 2 * batch.numbers

    def results(self, batch: Batch, outputs: Tensor) -> Mapping[int, int]:
        self.counter.update({"loss": float(outputs.float().mean())}, len(batch.numbers))
        return dict(zip(batch.numbers.tolist(), outputs.tolist(), strict=True))


def test_results_come_in_order_with_what_was_skipped_and_damaged():
    model = Doubling()
    found = run(model, make_accelerator(device="cpu"))
    assert list(found.by_number.items()) == [(1, 2), (2, 4), (3, 6)]
    assert found.skipped == {0: "zero: unreadable"}
    assert found.damaged == {2: "two: cut short"}  # what is skipped has no result to doubt
    assert found.counter.means == {"loss": 4.0}
    assert model.were_in_inference == [True, True]


def test_only_counts_are_kept_where_results_are_not_asked_for():
    found = run(Doubling(), make_accelerator(device="cpu"), keep=False)
    assert not found.by_number
    assert found.counter.total == 3


def test_what_processes_found_adds_up():
    one = InferenceResults(MeanLosses({"loss": 3.0}, 2), {1: "one"}, {0: "bad"})
    one.merge(InferenceResults(MeanLosses({"loss": 1.0}, 2), {2: "two"}, {}, {2: "cut"}))
    assert (one.by_number, one.skipped, one.damaged) == (
        {1: "one", 2: "two"},
        {0: "bad"},
        {2: "cut"},
    )
    assert one.counter.means == {"loss": 1.0}
    assert MeanLosses().means == {}


def test_hit_at_one_of_2019_counts_the_videos_of_all_processes():
    one, other = (TagCounts(TaggingCounter(2, 1), hits_2019=hits) for hits in (1.0, 2.0))
    for each in (one, other):
        each.metrics.update([[0.9, 0.1], [0.2, 0.8]], [[1, 0], [0, 1]])
    one.merge(other)
    assert one.summary(with_2019=True)["hit_at_one_2019"] == pytest.approx(3 / 4)

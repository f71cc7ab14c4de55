"""Any number in any setting of any model: refused, or harmless, in under a second."""

from __future__ import annotations

import copy
import math
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from videozoo.config import from_layers
from videozoo.errors import VideozooError
from videozoo.models import list_models
from videozoo.tasks.building import outline

LARGE = 10**9
CAPS = {
    "classes_per_video",
    "dims",
    "every_seconds",
    "frame_stride",
    "frames_per_second",
    "least_score",
    "max_frames",
    "max_proposals",
    "max_segments",
    "min_word_count",
    "most",
    "most_in_training",
    "nonlocal_mod",
    "num_workers",
    "recall_at",
    "shift_div",
    "shuffle_records",
    "snippet_length",
    "split",
    "split_seed",
    "spot_seconds",
    "top_k",
    "window_seconds",
}
"""May be large: no more than so many of what is there, every so many-th, or a time."""
SECTIONS = ("model", "data", "eval", "predict", "train")
Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every number of a section, and everything that is not set."""
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from places(getattr(value, name), (*path, name))
    elif isinstance(value, tuple) and value:
        yield from places(value[0], (*path, 0))
    elif value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        yield path, value


def plain(value: Any) -> Any:
    """As YAML gives it."""
    if isinstance(value, dict):
        return {key: plain(held) for key, held in value.items()}
    if isinstance(value, tuple | list):
        return [plain(held) for held in value]
    return str(value) if hasattr(value, "parts") else value


def is_accepted(model: str, section: str, held: dict[str, Any], path: Path, value: Any) -> bool:
    """Whether a configuration with this value can be used; asserts that the answer is quick."""
    changed = copy.deepcopy(held)
    inner: Any = changed
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    layer: dict[str, Any] = {"model": {"name": model}}
    layer[section] = {**layer.get(section, {}), **changed}
    started = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            config = from_layers([("x.yaml", layer)])
            if section == "model":
                outline(config)
    except VideozooError:
        return False
    finally:
        assert time.process_time() - started < 2, (model, section, path, value)
    return True


def tried(values: tuple[Any, ...], models: list[str]) -> Iterator[tuple[str, str, Path, Any, Any]]:
    """Model, section, place, what was there, and a value that is accepted in its stead."""
    for model in models:
        config = from_layers([("", {"model": {"name": model}})])
        for section in SECTIONS:
            settings = getattr(config, section)
            held = plain(settings.model_dump())
            for path, before in places(settings):
                for value in values:
                    if is_accepted(model, section, held, path, value):
                        yield model, section, path, before, value


@pytest.mark.parametrize(
    "models",
    [
        ["tsm", "ets", "bsn"],
        pytest.param(list_models(), marks=pytest.mark.slow),
    ],
    ids=["three", "all"],
)
def test_a_size_is_bounded_or_proven_by_weights(models: list[str]) -> None:
    wrong = [
        (model, section, path)
        for model, section, path, before, _ in tried((LARGE,), models)
        if section != "train"  # which only the user's own configuration has a say in
        and not isinstance(before, float)
        and not any(name in CAPS for name in path)
    ]
    assert not wrong


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_number_is_an_error_of_another_kind() -> None:
    values = (2**31, 2**63, -1, 0, math.nan, math.inf, -math.inf, 1e308)
    for model, section, path, _, value in tried(values, list_models()):
        assert math.isfinite(value), (model, section, path)

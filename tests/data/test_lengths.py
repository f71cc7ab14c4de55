from __future__ import annotations

import logging
from pathlib import Path

import pytest

from videozoo.data.lengths import Stretch, check_ends, check_lengths
from videozoo.errors import DataError

ANNOTATIONS, FEATURES = Path("a.json"), Path("feat")


def said(
    caplog: pytest.LogCaptureFixture,
    lengths: dict[str, tuple[float, float]],
    slack_seconds: float = 0.0,
) -> str:
    with caplog.at_level(logging.WARNING):
        check_lengths(lengths, source=ANNOTATIONS, features=FEATURES, slack_seconds=slack_seconds)
    return caplog.text


def test_lengths_that_agree_but_for_a_few_percent_are_silent(caplog: pytest.LogCaptureFixture):
    assert said(caplog, {}) == ""
    assert said(caplog, {"a": (100.0, 104.9), "b": (10.0, 10.0)}) == ""
    assert said(caplog, {"a": (2.4, 3.0)}, slack_seconds=0.5) == ""


def test_lengths_that_differ_are_counted_and_the_worst_is_named(caplog: pytest.LogCaptureFixture):
    text = said(caplog, {"a": (18.25, 22.333), "b": (10.0, 10.0), "c": (9.0, 27.0)})

    assert "a.json: 2 of 3 videos" in text
    assert "features in feat; worst is c: 9 s annotated, 27 s by its features, 3 times" in text
    assert "in frames" in text


def test_lengths_that_differ_by_much_in_most_videos_are_refused():
    lengths = {"a": (24.0, 2.4), "b": (60.0, 2.4), "c": (2.4, 2.4)}

    with pytest.raises(
        DataError, match=r"2 of 3 .* b: 60 s annotated, 2.4 s .*25 times.* Correct them"
    ):
        check_lengths(lengths, source=ANNOTATIONS, features=FEATURES)


def test_ends_beyond_the_video_are_said(caplog: pytest.LogCaptureFixture):
    within = [Stretch(f"line {n}", 0.0, 10.4, 10.0) for n in range(3)]

    with caplog.at_level(logging.WARNING):
        check_ends(within, source=ANNOTATIONS)
        assert caplog.text == ""
        check_ends([*within, Stretch("line 9", 1.0, 33.0, 2.1)], source=ANNOTATIONS)

    assert "a.json: 1 of 4 segments reach beyond their video" in caplog.text
    assert "line 9: 1 to 33 in a video of 2.1 s; are they in frames?" in caplog.text


def test_ends_far_beyond_most_videos_are_refused():
    stretches = [Stretch(f"line {n}", 1.0, end, 2.4) for n, end in enumerate((38.0, 38.0, 2.0))]

    with pytest.raises(DataError, match=r"2 of 3 sentences .*line 0.*in frames\?"):
        check_ends(stretches, source=ANNOTATIONS, what="sentences")

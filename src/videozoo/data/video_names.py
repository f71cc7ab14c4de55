"""What videos are called: in annotations, and where their features are kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T")


def spellings(video: str) -> tuple[str, str]:
    """The two names a video of ActivityNet goes by: as given, and with or without `v_`.

    >>> spellings("v_ab"), spellings("ab")
    (('v_ab', 'ab'), ('ab', 'v_ab'))
    """
    return video, video[2:] if video.startswith("v_") else f"v_{video}"


def of_video(video: str, known: Mapping[str, T]) -> T | None:
    """What is known of a video, under either of its names.

    >>> of_video("v_ab", {"ab": 2.5}), of_video("ab", {})
    (2.5, None)
    """
    return next((known[name] for name in spellings(video) if name in known), None)

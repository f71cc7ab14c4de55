"""Classes of videos from a file beside them: tags by path or by name."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from videozoo.data import kinetics
from videozoo.errors import DataError
from videozoo.safe_json import parse_json


def video_name(path: Path) -> str:
    """What a video is called where its features are kept: the file's name without its ending."""
    return path.name if path.is_dir() else path.stem


def absolute(path: Path | str) -> str:
    """A path from the root, to compare by; links stay, and nothing is looked up."""
    return os.path.abspath(path)  # noqa: PTH100


@dataclass
class VideoLabels:
    """Classes of videos, found by path or else by name."""

    path: Path
    by_path: dict[str, tuple[int, ...]] = field(default_factory=dict[str, tuple[int, ...]])
    by_name: dict[str, set[tuple[int, ...]]] = field(
        default_factory=dict[str, set[tuple[int, ...]]]
    )

    def of(self, video: Path) -> tuple[int, ...] | None:
        """Classes of one video; None where the file does not mention it.

        Raises:
            DataError: Several videos of that name are mentioned, with different classes.
        """
        found = self.by_path.get(absolute(video))
        if found is not None:
            return found
        named = self.by_name.get(video_name(video), set())
        if len(named) > 1:
            raise DataError(
                f"{self.path}: several videos are called {video_name(video)}, with different "
                f"labels, and none is at {video}; write paths as they are from here"
            )
        return next(iter(named), None)

    @property
    def num_classes(self) -> int:
        """As many as the highest label asks for."""
        return 1 + max((label for labels in self.by_path.values() for label in labels), default=-1)

    def add(self, video: str, labels: tuple[int, ...]) -> None:
        """Take note of one line."""
        for base in (Path(), self.path.parent):
            self.by_path[absolute(base / video)] = labels
        # as ActivityNet: an identifier, with or without the file's ending
        for name in {Path(video).stem, Path(video).name}:
            self.by_name.setdefault(name, set()).add(labels)


def read_labels(path: Path) -> VideoLabels:
    """Read the classes of videos, numbers from 0.

    Text has a line a video, `PATH LABEL[,LABEL...]`, so lists of Kinetics will do. JSON is one
    object, `{PATH: [LABEL, ...]}` or `{PATH: LABEL}`.

    Raises:
        DataError: It is neither; every bad line is named, up to ten.
    """
    labels = VideoLabels(path)
    problems: list[str] = []
    if path.suffix.lower() == ".json":
        try:
            content: Any = parse_json(kinetics.text_of(path))
        except ValueError as error:
            raise DataError(f"{path}: not valid JSON: {error}") from None
        if not isinstance(content, dict) or not content:
            raise DataError(f"{path}: expected an object {{PATH: [LABEL, ...]}}")
        for video, values in cast("dict[str, Any]", content).items():
            many = cast("list[Any]", values if isinstance(values, list) else [values])
            if all(isinstance(one, int) and one >= 0 for one in many):
                labels.add(video, tuple(many))
            else:
                problems.append(f"{path}: {video!r}: expected class numbers, got {values!r:.60}")
    else:
        for number, line in kinetics.lines_of(path):
            video, _, text = line.rpartition(" ") if " " in line else line.rpartition("\t")
            many = [kinetics.integer(one.strip()) for one in text.split(",")]
            known = tuple(one for one in many if one is not None and one >= 0)
            if video.strip() and len(known) == len(many):
                labels.add(video.strip(), known)
            else:
                problems.append(f"{path}:{number}: expected 'PATH LABEL[,LABEL...]', got {line!r}")
    kinetics.raise_all(path, problems)
    return labels

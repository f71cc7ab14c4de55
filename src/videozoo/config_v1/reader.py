"""Values of a 2019 file, moved one by one into our sections."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from videozoo.errors import ConfigError, brief


@dataclass(frozen=True)
class V1Config:
    """A 2019 file, its values turned into numbers, lists and None as the 2019 library did."""

    model: str
    sections: Mapping[str, Mapping[str, Any]]
    source: str


@dataclass
class Translation:
    """Our sections, and how they relate to the file."""

    sections: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    """Our dotted key to "FILE: SECTION.key"."""
    notes: tuple[str, ...] = ()
    """What the reader of the file should know: one line per remark or key without effect."""


class Reader:
    """Moves values out of a 2019 file and remembers which keys nobody used."""

    def __init__(self, config: V1Config, *, batch_size: int | None = None) -> None:
        self.config = config
        self.batch_size = batch_size
        """The training batch, where the command line sets it; some schedules count videos."""
        self.left = {f"{s}.{k}" for s, values in config.sections.items() for k in values}
        self.translation = Translation()
        self.notes: list[str] = []
        self.asked = "MODEL.name"
        """The key that was looked at last."""

    def section(self, name: str) -> Mapping[str, Any]:
        """Values of one section, looked at without being used."""
        return self.config.sections.get(name, {})

    def say(self, note: str) -> None:
        """Tell the reader of the file something."""
        self.notes.append(f"{self.config.source}: {note}")

    def workers(self, key: str) -> int | None:
        """Worker processes for a number of threads: never more than the machine has cores."""
        wanted = self.number(key)
        return min(int(wanted), os.cpu_count() or 1) if wanted is not None else None

    def get(self, key: str, default: Any = None) -> Any:
        """A value by "SECTION.key"; it counts as used."""
        section, _, name = key.partition(".")
        self.left.discard(key)
        self.asked = key
        return self.config.sections.get(section, {}).get(name, default)

    def number(self, key: str, default: float | None = None, *, least: float | None = None) -> Any:
        """A value to compute with; None where there is none.

        Raises:
            ConfigError: It is not a number, or less than `least`.
        """
        value = self.get(key, default)
        if value is not None and not _is_number(value, least):
            expected = "a number" if least is None else f"a number from {least:g} on"
            raise self.misfit(key, expected)
        return value

    def numbers(self, key: str, default: Sequence[float] | None = None) -> Any:
        """As `number`, for a list of numbers."""
        values = self.get(key, default)
        is_list = isinstance(values, list | tuple) and all(
            _is_number(value, None) for value in cast("Sequence[Any]", values)
        )
        if values is not None and not (is_list and values):
            raise self.misfit(key, "a list of numbers")
        return values

    def misfit(self, key: str, expected: str) -> ConfigError:
        """The error for a value of another kind."""
        value = brief(self.get(key))
        return ConfigError(f"{self.config.source}: {key}: expected {expected}, got {value}")

    def put(self, ours: str, value: Any, theirs: str) -> None:
        """Set our key to `value`, which comes from their key; None sets nothing."""
        if value is None:
            return
        section, _, name = ours.partition(".")
        self.translation.sections.setdefault(section, {})[name] = value
        self.translation.origins[ours] = f"{self.config.source}: {theirs}"

    def move(self, theirs: str, ours: str) -> None:
        """Set our key to the value of theirs."""
        self.put(ours, self.get(theirs), theirs)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget keys whose 2019 meaning is kept elsewhere, without a note."""
        self.left.difference_update(keys)

    def finish(self) -> Translation:
        """Our sections, with a note for each key that nobody used."""
        self.translation.notes = (
            *self.notes,
            *(f"{self.config.source}: {key} has no effect" for key in sorted(self.left)),
        )
        return self.translation


def read_shared_keys(reader: Reader) -> None:
    """Move the keys that most models share."""
    for theirs, ours in (
        ("epoch", "train.epochs"),
        ("batch_size", "train.batch_size"),
        ("learning_rate", "train.learning_rate"),
        ("momentum", "train.momentum"),
        ("learning_rate_decay", "train.decay_factor"),
        ("num_gpus", "train.num_gpus"),
        ("filelist", "data.train"),
    ):
        reader.move(f"TRAIN.{theirs}", ours)
    reader.move("VALID.filelist", "data.val")
    reader.move("TEST.filelist", "data.test")
    reader.move("INFER.filelist", "predict.inputs")
    video = reader.get("INFER.video_path")  # where it is set, the list does not count
    reader.put("predict.inputs", video or None, "INFER.video_path")
    reader.put(
        "data.num_workers",
        reader.workers("TRAIN.num_reader_threads"),
        "TRAIN.num_reader_threads",
    )
    reader.move("TEST.batch_size", "eval.batch_size")
    reader.move("INFER.batch_size", "predict.batch_size")
    # Flags decide these, or another key says the same.
    reader.drop(
        ["TRAIN.use_gpu", "TRAIN.pretrain_base", "MODEL.name", "MODEL.dataset"]
        + [f"{s}.num_reader_threads" for s in ("VALID", "TEST", "INFER")]
        + [f"{s}.buf_size" for s in ("TRAIN", "VALID", "TEST", "INFER")]
    )
    for section in ("VALID", "TEST", "INFER"):
        reader.drop([f"{section}.use_gpu", f"{section}.num_gpus"])
    # Validation has the batch size and the transforms of training; shipped files agree on them.
    for key in ("batch_size", "crop_size", "target_size", "short_size", "jitter_scales"):
        train, valid = (reader.config.sections.get(s, {}).get(key) for s in ("TRAIN", "VALID"))
        if train == valid:
            reader.drop([f"VALID.{key}"])


def _is_number(value: object, least: float | None) -> bool:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return least is None or value >= least

"""What a command asks of a task. Both command lines fill these in; nothing here imports torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from videozoo.config import RunConfig

Device = Literal["auto", "cpu", "cuda"]
Layer = Literal["features", "scores"]
"""What is taken of a clip model: what its classifier reads, or the scores of the classes."""


@dataclass(frozen=True, kw_only=True)
class ConfigSource:
    """Where a run's configuration comes from, before it is read."""

    path: Path | None = None
    model: str | None = None
    overrides: tuple[str, ...] = ()
    flags: dict[str, tuple[str, Any]] = field(default_factory=dict[str, tuple[str, Any]])
    """Dotted key to (how the user spelt the flag, value)."""

    def checked(self) -> ConfigSource:
        """Itself, once its file has been checked: a mistake answers before torch is imported.

        Raises:
            ConfigError: The file does not describe a valid run.
            UsageError: An override is not of the form `section.key=value`.
        """
        if self.path is not None:
            self.load()
        return self

    def load(self) -> RunConfig:
        """Read and check it.

        Raises:
            ConfigError: It does not describe a valid run.
            UsageError: No file was named.
        """
        from videozoo.config import load_config
        from videozoo.errors import UsageError

        if self.path is None:
            raise UsageError("no configuration: pass --config FILE|NAME (`videozoo config list`)")
        return load_config(self.path, model=self.model, overrides=self.overrides, flags=self.flags)


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """`videozoo train`."""

    source: ConfigSource
    save_dir: Path
    data: Path | None = None
    """A folder with one folder of videos a class, in place of the lists in the configuration."""
    device: Device = "auto"
    pretrain: str | None = None
    """Weights to start from: a path, a name, `hf://`; "default": what 2019 started from; None or
    "none": fresh ones."""
    pretrain_or_fresh: bool = False
    """Where `pretrain` cannot be had, warn and start from fresh weights."""
    drop: tuple[str, ...] = ()
    resume: bool = False
    overwrite: bool = False
    log_interval: int = 10
    valid_interval: int = 1
    save_every_steps: int | None = None
    """Save the state within epochs too."""
    fixed_seed: bool = False
    """Also ask PyTorch for deterministic algorithms."""
    tensorboard: bool = False
    is_stage: bool = False
    """One of several trainings of one run, which says itself what comes next."""


@dataclass(frozen=True, kw_only=True)
class VideosRequest:
    """What all commands ask that run a trained model over videos."""

    source: ConfigSource
    weights: str | None = None
    """A path, a name, `hf://`; None: those published for the configuration's model."""
    device: Device = "auto"
    strict: bool = False
    """Stop at the first video that cannot be used. By default go on, and raise IncompleteError at
    the end, when everything is written."""
    skip_bad: bool = False
    """Videos that cannot be used are no failure."""


@dataclass(frozen=True, kw_only=True)
class RunRequest(VideosRequest):
    """What `videozoo eval` and `videozoo predict` both ask."""

    save_dir: Path | None = None
    """Where results go; None: beside the weights, as `tasks.results` says."""
    files_dir: Path | None = None
    """Where the files go that 2019 wrote; None: where the other results go."""
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EvalRequest(RunRequest):
    """`videozoo eval`."""

    data: Path | None = None
    report: bool | None = None
    """Also write `report.html`. None: where matplotlib, which draws it, is installed."""


@dataclass(frozen=True, kw_only=True)
class PredictRequest(RunRequest):
    """`videozoo predict`."""

    inputs: tuple[str, ...] = ()
    annotate: bool = False
    """Also write each video with the answer on it, and a picture of what the model saw."""
    explain: bool = False
    """Also write a picture of what in each video speaks for the answer."""
    sentences: tuple[str, ...] = ()
    """What to look for, for models that find moments."""


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """`videozoo export`."""

    source: ConfigSource
    weights: str | None = None
    """None: those published for the model."""
    output: Path | None = None
    """By default beside the weights, with their name and the format's suffix."""
    format: Literal["onnx", "torch-export"] | None = None
    """By default what the suffix of `output` says, else ONNX."""
    video: Path | None = None
    """A video, or a folder of them, to compare the graph on."""
    overwrite: bool = False
    check: bool = True
    """Compare the graph's scores with the model's before the file is kept."""


@dataclass(frozen=True, kw_only=True)
class ExtractRequest(VideosRequest):
    """`videozoo extract`."""

    output: Path
    """A folder; made where missing, gone on with where the same extractor wrote it."""
    inputs: tuple[str, ...] = ()
    rate: float = 2.0
    """Vectors a second of video."""
    window_seconds: float | None = None
    """Stretch of video that a vector is made from; None: 1 / rate, or as the model was trained."""
    layer: Layer = "features"
    """What the classifier reads, or the scores it gives."""
    format: Literal["pack", "tfrecord", "npz", "npy", "csv"] = "pack"
    labels: Path | None = None
    """Classes of the videos: lines `PATH LABEL[,LABEL...]`, or JSON `{PATH: [LABEL, ...]}`."""
    overwrite: bool = False
    """Remove what an extraction left in `output` and start anew."""

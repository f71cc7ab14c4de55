"""What each command asks for. Both command lines fill these in; nothing here imports torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union

if TYPE_CHECKING:
    from torch import device as TorchDevice

    from videozoo.config import RunConfig
    from videozoo.encoders.base import Encoder
    from videozoo.report.answers import ModelAnswers

Device = Literal["auto", "cpu", "cuda"] | Union[str, "TorchDevice"]
"""`cuda:N` is one GPU of several."""
Layer = Literal["features", "scores"] | int
"""What to take from an encoder: its features; the class scores of a clip model; or the output of a
Hugging Face model's layer of this number."""

EncoderPrecision = Literal["fp32", "bf16", "fp16"]
"""In which number format an encoder of Hugging Face computes."""


@dataclass(frozen=True)
class EncoderChoice:
    """What the command line says of encoders."""

    encoders: tuple[str, ...] = ()
    layer: Layer = "features"
    pooling: str | None = None
    precision: EncoderPrecision = "fp32"
    rate: float | None = None
    window_seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigSource:
    """Where a run's configuration comes from, before it is read."""

    path: Path | None = None
    model: str | None = None
    overrides: tuple[str, ...] = ()
    flags: dict[str, tuple[str, Any]] = field(default_factory=dict[str, tuple[str, Any]])
    """Dotted key -> (the flag as the user typed it, value)."""

    def checked(self) -> ConfigSource:
        """Check the file and return this source: a mistake is reported before torch is imported.

        Raises:
            ConfigError: The file does not describe a valid run.
            UsageError: An override is not of the form `section.key=value`.
        """
        if self.path is not None:
            self.load()
        return self

    def load(self) -> RunConfig:
        """Read and check the configuration.

        Raises:
            ConfigError: The configuration does not describe a valid run.
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
    """A folder with one folder of videos per class, in place of the lists in the configuration."""
    device: Device = "auto"
    pretrain: str | None = None
    """Weights to start from: a path, a name, `hf://`; "default": the published weights from which
    the 2019 library started; None or "none": fresh weights."""
    pretrain_or_fresh: bool = False
    """If the weights of `pretrain` cannot be found or loaded, warn and start from fresh weights."""
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
    made_with: Sequence[Encoder] = ()
    """The open encoders that made the features of this training, if it made them itself."""
    is_stage: bool = False
    """This training is one stage of a larger run; only the larger run prints what to do next."""


@dataclass(frozen=True, kw_only=True)
class VideosRequest:
    """The fields shared by all commands that run a trained model over videos."""

    source: ConfigSource
    weights: str | None = None
    """A path, a name, `hf://`; None: the weights published for the configuration's model."""
    device: Device = "auto"
    strict: bool = False
    """Stop at the first video that cannot be used. By default go on, and raise IncompleteError at
    the end, when everything is written."""
    skip_bad: bool = False
    """Videos that cannot be used do not make the command fail."""


@dataclass(frozen=True, kw_only=True)
class RunRequest(VideosRequest):
    """The fields shared by `videozoo eval` and `videozoo predict`."""

    save_dir: Path | None = None
    """Where results go; None: beside the weights, see `tasks.results`."""
    files_dir: Path | None = None
    """Where result files of the 2019 library's format go; None: where the other results go."""
    drop: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class EvalRequest(RunRequest):
    """`videozoo eval`."""

    data: Path | None = None
    report: bool | None = None
    """Also write `report.html`. None: where matplotlib, which draws it, is installed."""


@dataclass
class Unread:
    """Inputs that cannot be used, of all models of one call: each is tried and told once."""

    lines: dict[str, str] = field(default_factory=dict[str, str])
    """What makes features, and a video -> why it has none."""
    told: set[str] = field(default_factory=set[str])

    def tell(self, lines: Iterable[str], say: Callable[[str], None]) -> None:
        """Say those lines that were not said before."""
        for line in lines:
            if line not in self.told:
                say(f"failed: {line}")
                self.told.add(line)


@dataclass(frozen=True, kw_only=True)
class PredictRequest(RunRequest):
    """`videozoo predict`."""

    inputs: tuple[str, ...] = ()
    annotate: bool = False
    """Also write each video with the predicted classes on it, and a picture of its input frames."""
    explain: bool = False
    """Also write a picture per video of where the model looked."""
    sentences: tuple[str, ...] = ()
    """Sentences to search for; only for models that find moments."""
    events: str | None = None
    """For models that describe events: a file of events, or a localiser that finds them."""
    spans: Mapping[str, Sequence[tuple[float, float]]] | None = None
    """Those events in seconds, by name of the video."""
    page: bool = False
    """Also write `page.html`: the videos and what is said of them, on one axis of time."""
    embed_frames: bool = False
    """The same with small pictures inside, in place of links to the videos."""
    subtitles: bool = False
    """Also write subtitles of every video, `NAME.vtt` and `NAME.srt`."""
    csv: bool = False
    """Also write `predictions.csv`, one row per answer."""

    gather: Callable[[ModelAnswers, Path], None] | None = None
    """Takes the answers and the folder of the results; page, subtitles and table are then written
    elsewhere, for several models together."""

    @property
    def shows_answers(self) -> bool:
        """Whether a page, subtitles or a table are to be written."""
        return self.page or self.embed_frames or self.subtitles or self.csv

    encoders: tuple[str, ...] = ()
    """What makes features of videos, for models that read them; by default what the run keeps."""
    layer: Layer = "features"
    pooling: str | None = None
    encoder_precision: EncoderPrecision = "fp32"
    rate: float | None = None
    """Vectors per second; by default as in training. So is `window_seconds`."""
    window_seconds: float | None = None
    videos: Mapping[str, Path] = field(default_factory=dict[str, Path])
    """Files of features among `inputs` to the videos they were made of."""
    asked: tuple[str, ...] | None = None
    """The inputs as the user named them, if `inputs` holds features made of them."""
    failed: tuple[str, ...] = ()
    """A line per video of these that could not be used."""
    unread: Unread = field(default_factory=Unread)
    """Shared by the models of one call."""

    @property
    def choice(self) -> EncoderChoice:
        """What it says of encoders."""
        return EncoderChoice(
            encoders=self.encoders,
            layer=self.layer,
            pooling=self.pooling,
            precision=self.encoder_precision,
            rate=self.rate,
            window_seconds=self.window_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class ExportRequest:
    """`videozoo export`."""

    source: ConfigSource
    weights: str | None = None
    """None: the weights published for the model."""
    output: Path | None = None
    """By default beside the weights, with their name and the format's suffix."""
    format: Literal["onnx", "torch-export"] | None = None
    """None: the format that the suffix of `output` means, else ONNX."""
    video: Path | None = None
    """A video or a folder of videos on which the graph is compared with the model."""
    overwrite: bool = False
    check: bool = True
    """Compare the graph's scores with the model's before the file is kept."""
    features: bool = False
    """Of a clip model, write what gives its features in place of its scores: an encoder."""
    encoder: str | None = None
    """In place of weights: an encoder by its name. Of a bundle: what makes the features."""
    int8: bool = False
    """Weights of 8 bits; the metric on `data` is compared with that of the float file."""
    int8_loss: float = 0.01
    """The largest loss of that metric, as a share of it."""
    data: Path | None = None
    """For `int8`: a list or folder to use instead of `data.test`."""


@dataclass(frozen=True, kw_only=True)
class ExtractRequest(VideosRequest):
    """`videozoo extract`."""

    output: Path
    """A folder; created if missing, continued if the same extractor wrote it."""
    inputs: tuple[str, ...] = ()
    rate: float | None = None
    """Vectors per second of video; None: 2."""
    window_seconds: float | None = None
    """Seconds of video per vector; None: as the encoder was made for, else 1 / rate."""
    mirror: bool = False
    """Each vector is the mean of those of a window and of its mirror image."""
    encoders: tuple[str, ...] = ()
    """What makes the vectors, in place of `weights`; those of several are joined."""
    for_run: str | None = None
    """Make features as those that this run learnt from, in place of all the choices here."""
    layer: Layer = "features"
    """See `Layer`."""
    pooling: str | None = None
    """For encoders of Hugging Face: how a vector is made of the outputs."""
    encoder_precision: EncoderPrecision = "fp32"
    """For encoders of Hugging Face: in which number format they compute."""
    batch_size: int | None = None
    """Windows per forward pass; None: as the encoder says."""
    format: Literal["pack", "tfrecord", "npz", "npy", "csv"] = "pack"
    labels: Path | None = None
    """Classes of the videos: lines `PATH LABEL[,LABEL...]`, or JSON `{PATH: [LABEL, ...]}`."""
    overwrite: bool = False
    """Remove what an earlier extraction left in `output` and start again."""


@dataclass(frozen=True, kw_only=True)
class CardRequest:
    """`videozoo card`; part of `videozoo push`."""

    run: Path
    name: str | None = None
    """Where others will find it, `hf://OWNER/NAME`, for the commands of the card; None: in the
    folder of the card."""
    licence: str | None = None
    """None: said to be not stated."""
    data_name: str | None = None
    """What the data are, in words of the user."""


@dataclass(frozen=True, kw_only=True)
class PushRequest(CardRequest):
    """`videozoo push`."""

    target: str
    """`hf://OWNER/NAME`, a folder, or `file://` and a folder."""
    is_public: bool = False
    """A repository that is made is open to all; by default to its owner alone."""
    is_trial: bool = False
    """Only tell what would be sent."""
    overwrite: bool = False
    """Replace another model there, and a card that was changed there."""
    unfinished: bool = False
    """Take a run that stopped before its last epoch."""
    message: str | None = None
    """Of the commit."""

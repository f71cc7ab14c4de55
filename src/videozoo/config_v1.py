"""Read the YAML files of the 2019 PaddlePaddle library as they are.

They have the sections MODEL, TRAIN, VALID, TEST and INFER (Non-local also RESNETS and NONLOCAL).
`parse` checks any of the fourteen that were shipped; `translate` turns one into our sections.
"""

from __future__ import annotations

import math
import os
import warnings
from ast import literal_eval
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, cast

from videozoo import _config_v1_language, _config_v1_localisation
from videozoo.errors import ConfigError, brief
from videozoo.models import list_models

SPELLINGS = {
    "attention_cluster": "AttentionCluster",
    "attention_lstm": "AttentionLSTM",
    "nextvlad": "NEXTVLAD",
    "nonlocal": "NONLOCAL",
    "stnet": "STNET",
    "tsm": "TSM",
    "tsn": "TSN",
    "ctcn": "CTCN",
    "bmn": "BMN",
    "bsn_tem": "BsnTem",
    "bsn_pem": "BsnPem",
    "ets": "ETS",
    "tall": "TALL",
}
"""Our name of a model to that of the 2019 library, which named its files so."""
MODELS = {spelling.lower(): name for name, spelling in SPELLINGS.items()}
"""Spelling in the 2019 library, without case, `-` and `_`, to our name."""

_LANGUAGE = {"ets": _config_v1_language.ets, "tall": _config_v1_language.tall}

_MOST_DROPS = 10_000
_LONGEST_LITERAL = 200  # characters; Python's parser can be brought down by thousands

_WITH_KEYS = ("UNIQUE",)
"""Keys that the files of 2019 give further keys; this one was never read."""
SECTION_NAMES = ("MODEL", "RESNETS", "NONLOCAL", "TRAIN", "VALID", "TEST", "INFER")


@dataclass(frozen=True)
class V1Config:
    """A 2019 file, its values turned into numbers, lists and None as that library did."""

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
    """One line a key of the file that has no effect."""


def is_v1(raw: Mapping[str, Any]) -> bool:
    """Tell a 2019 file from one of ours by its MODEL section.

    >>> is_v1({"MODEL": {"name": "TSN"}}), is_v1({"model": {"name": "tsn"}})
    (True, False)
    """
    return "MODEL" in raw


def parse(raw: Mapping[str, Any], *, model: str | None = None, source: str = "config") -> V1Config:
    """Check the form of a 2019 file of any of its models.

    Args:
        raw: What YAML gave.
        model: The model the command line names; it wins over MODEL.name, as in 2019.
        source: The file's name, for messages.

    Raises:
        ConfigError: No such model, or a section that is not keys and values.
    """
    sections: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for name, values in raw.items():
        if name not in SECTION_NAMES:
            close = get_close_matches(name.upper(), SECTION_NAMES, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(SECTION_NAMES)}"
            problems.append(f"{source}: {name}: unknown section; {hint}")
        elif not isinstance(values, Mapping):
            problems.append(f"{source}: {name}: expected keys and values, got {brief(values)}")
        else:
            pairs = cast(Mapping[str, Any], values).items()
            sections[name] = {key: _literal(value) for key, value in pairs}
            problems += [
                f"{source}: {name}.{key}: expected a number, text or a list, got {brief(value)}"
                for key, value in pairs
                if isinstance(value, Mapping) and key not in _WITH_KEYS
            ]
    if problems:
        raise ConfigError("\n  ".join(["this configuration cannot be used:", *problems]))
    label = str(model or sections["MODEL"].get("name", ""))
    plain = label.lower().replace("_", "").replace("-", "")
    if plain not in MODELS:
        close = get_close_matches(plain, MODELS, n=1)
        hint = f"did you mean {MODELS[close[0]]!r}?" if close else f"known: {', '.join(MODELS)}"
        raise ConfigError(f"{source}: MODEL.name: unknown model {brief(label)}; {hint}")
    return V1Config(model=MODELS[plain], sections=sections, source=source)


def translate(
    raw: Mapping[str, Any],
    *,
    model: str | None = None,
    source: str = "config",
    batch_size: int | None = None,
) -> Translation:
    """Turn a 2019 file into our sections.

    Args:
        raw: What YAML gave.
        model: The model the command line names; it wins over MODEL.name, as in 2019.
        source: The file's name, for messages.
        batch_size: For training, where the command line sets it; some schedules count videos.

    Raises:
        ConfigError: As `parse`; or this version has no such model yet.
    """
    config = parse(raw, model=model, source=source)
    if config.model not in list_models():
        raise ConfigError(
            f"{source}: model {config.model!r} is not in this version of videozoo; "
            f"it has {', '.join(list_models())}"
        )
    reader = _Reader(config)
    try:
        _read(reader, batch_size)
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        # values are computed with as they are; the one that was asked for last does not fit
        raise ConfigError(
            f"{source}: {reader.asked}: cannot be {brief(reader.get(reader.asked))} "
            f"({error}); compare it with the file that 2019 ships for {config.model}"
        ) from error
    reader.put("model.name", config.model, "MODEL.name")
    return reader.finish()


def _read(reader: _Reader, batch_size: int | None) -> None:
    model = reader.config.model
    if model == "nonlocal":
        _nonlocal(reader)
    elif model in ("attention_cluster", "attention_lstm", "nextvlad"):
        _tagging(reader, batch_size)
    elif model in ("bmn", "bsn_tem", "bsn_pem", "ctcn"):
        _config_v1_localisation.read(reader)
    elif model in _LANGUAGE:
        _training(reader)
        _LANGUAGE[model](reader)
    else:
        _kinetics(reader)


def _literal(value: Any) -> Any:
    """Read text as a Python value where it is one, as the 2019 library did (`1e-4`, `None`)."""
    if not isinstance(value, str) or len(value) > _LONGEST_LITERAL:
        return value
    try:
        with warnings.catch_warnings(action="ignore"):  # of Python, on text that is none
            found = literal_eval(value)
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
        return value
    return found if isinstance(found, int | float | str | list | tuple | None) else value


def _is_number(value: object, least: float | None) -> bool:
    if not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return least is None or value >= least


class _Reader:
    """Moves values out of a 2019 file and remembers which keys nobody asked for."""

    def __init__(self, config: V1Config) -> None:
        self.config = config
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
        """Threads were cheap in 2019; processes are not, so no more of them than cores."""
        wanted = self.number(key)
        return min(int(wanted), os.cpu_count() or 1) if wanted is not None else None

    def get(self, key: str, default: Any = None) -> Any:
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
        """The same of a list of numbers."""
        values = self.get(key, default)
        is_list = isinstance(values, list | tuple) and all(
            _is_number(value, None) for value in cast("Sequence[Any]", values)
        )
        if values is not None and not (is_list and values):
            raise self.misfit(key, "a list of numbers")
        return values

    def misfit(self, key: str, expected: str) -> ConfigError:
        """What to raise where a value is of another kind."""
        value = brief(self.get(key))
        return ConfigError(f"{self.config.source}: {key}: expected {expected}, got {value}")

    def put(self, ours: str, value: Any, theirs: str) -> None:
        if value is None:
            return
        section, _, name = ours.partition(".")
        self.translation.sections.setdefault(section, {})[name] = value
        self.translation.origins[ours] = f"{self.config.source}: {theirs}"

    def move(self, theirs: str, ours: str) -> None:
        self.put(ours, self.get(theirs), theirs)

    def drop(self, keys: Iterable[str]) -> None:
        """Forget keys whose 2019 meaning is kept elsewhere, without a note."""
        self.left.difference_update(keys)

    def finish(self) -> Translation:
        self.translation.notes = (
            *self.notes,
            *(f"{self.config.source}: {key} has no effect" for key in sorted(self.left)),
        )
        return self.translation


def _training(reader: _Reader) -> None:
    """Keys that every model shares."""
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


def _kinetics(reader: _Reader) -> None:
    """TSN, TSM and StNet: the kinetics reader."""
    _training(reader)
    reader.move("INFER.kinetics_labels", "data.class_names")
    reader.put("train.schedule", "steps", "MODEL.name")
    model = reader.config.model
    reader.move("MODEL.num_classes", "model.num_classes")
    reader.move("MODEL.num_layers", "model.depth")
    reader.move("MODEL.seglen", "model.frames_per_segment")
    segments = reader.get("MODEL.seg_num")
    in_train = reader.get("TRAIN.seg_num") if model != "tsm" else None
    reader.put(
        "model.num_segments",
        in_train or segments,
        "TRAIN.seg_num" if in_train else "MODEL.seg_num",
    )
    reader.move("MODEL.topk", "predict.top_k")
    reader.move("MODEL.image_mean", "data.mean")
    reader.move("MODEL.image_std", "data.std")
    reader.drop(["MODEL.format"])  # told from the files themselves
    reader.move("TRAIN.short_size", "data.short_side")
    reader.move("TRAIN.target_size", "data.crop_size")
    reader.move("TRAIN.l2_weight_decay", "train.weight_decay")
    reader.move("TRAIN.total_videos", "train.videos_per_epoch")
    if reader.get("TRAIN.fix_random_seed"):
        reader.put("train.seed", 0, "TRAIN.fix_random_seed")
    if model == "tsm":
        reader.move("TRAIN.decay_epochs", "train.decay_at")
    else:
        epochs = reader.number("TRAIN.epoch")
        if epochs is not None:
            reader.put("train.decay_at", [epochs / 3, epochs * 2 / 3], "TRAIN.epoch")
    if model != "tsm":
        for section, ours in (("TEST", "eval"), ("INFER", "predict")):
            reader.move(f"{section}.seg_num", f"{ours}.num_segments")
        if reader.config.sections.get("VALID", {}).get("seg_num") == (in_train or segments):
            reader.drop(["VALID.seg_num"])
    for section, ours in (("TEST", "eval"), ("INFER", "predict")):
        reader.move(f"{section}.short_size", f"{ours}.short_side")
        reader.move(f"{section}.target_size", f"{ours}.crop_size")
    dali = reader.get("TRAIN.use_dali")  # that reader kept the shape of the picture
    reader.put("data.resize", "keep_aspect" if dali else "fixed_4_3", "MODEL.name")
    reader.put("data.resize_with", "pillow", "MODEL.name")
    reader.drop([f"{section}.use_dali" for section in ("VALID", "TEST", "INFER")])
    reader.put("data.crops", "multi_scale" if model == "tsm" else "random", "MODEL.name")
    reader.put("data.flip", 0.5, "MODEL.name")
    reader.drop(["TRAIN.num_trainers", "TRAIN.trainer_id"])


def _nonlocal(reader: _Reader) -> None:
    """Non-local: dense clips, Caffe2's pixel scale, Nesterov momentum."""
    _training(reader)
    reader.move("INFER.kinetics_labels", "data.class_names")
    reader.put("train.schedule", "steps", "MODEL.name")
    for theirs, ours in (
        ("MODEL.num_classes", "num_classes"),
        ("MODEL.fc_init_std", "fc_init_std"),
        ("MODEL.bn_epsilon", "bn_epsilon"),
        ("MODEL.bn_momentum", "bn_momentum"),
        ("MODEL.bn_init_gamma", "bn_init_gamma"),
        ("MODEL.use_affine", "use_affine"),
        ("RESNETS.num_groups", "num_groups"),
        ("RESNETS.width_per_group", "width_per_group"),
        ("NONLOCAL.layer_mod", "nonlocal_mod"),
        ("NONLOCAL.conv3_nonlocal", "nonlocal_res3"),
        ("NONLOCAL.conv4_nonlocal", "nonlocal_res4"),
        ("NONLOCAL.conv_init_std", "nonlocal_init_std"),
        ("NONLOCAL.use_maxpool", "nonlocal_maxpool"),
        ("NONLOCAL.use_scale", "nonlocal_scale"),
        ("NONLOCAL.use_bn", "nonlocal_bn"),
        ("NONLOCAL.use_affine", "nonlocal_affine"),
        ("NONLOCAL.bn_epsilon", "nonlocal_bn_epsilon"),
        ("NONLOCAL.bn_momentum", "nonlocal_bn_momentum"),
        ("NONLOCAL.bn_init_gamma", "nonlocal_bn_gamma"),
        ("NONLOCAL.use_zero_init_conv", "nonlocal_zero_init"),
        ("TRAIN.video_length", "num_frames"),
        ("TRAIN.dropout_rate", "dropout"),
    ):
        reader.move(theirs, f"model.{ours}")
    without_bias = reader.get("NONLOCAL.no_bias")
    if without_bias is not None:
        reader.put("model.nonlocal_bias", not without_bias, "NONLOCAL.no_bias")
    arc = reader.get("MODEL.video_arc_choice")
    if arc is not None:
        if arc not in (1, 2, 3, 4):
            raise ConfigError(
                f"{reader.config.source}: MODEL.video_arc_choice: expected 1 C2D-50, 2 I3D-50, "
                f"3 C2D-101 or 4 I3D-101, got {arc!r}"
            )
        depth = 50 if arc in (1, 2) else 101
        stated = reader.get("MODEL.depth", depth)
        if stated != depth:
            raise ConfigError(
                f"{reader.config.source}: MODEL.depth is {stated}, but MODEL.video_arc_choice "
                f"{arc} is a network of depth {depth}; change one of them"
            )
        reader.put("model.depth", depth, "MODEL.video_arc_choice")
        reader.put("model.temporal_convs", arc in (2, 4), "MODEL.video_arc_choice")
    else:
        reader.move("MODEL.depth", "model.depth")
    if reader.get("NONLOCAL.use_softmax", True) is not True:
        raise ConfigError(
            f"{reader.config.source}: NONLOCAL.use_softmax: only True ever worked; remove the key"
        )
    for theirs, ours in (("MODEL.image_mean", "data.mean"), ("MODEL.image_std", "data.std")):
        value = reader.number(theirs)
        if value is not None:
            reader.put(ours, [value / 255.0] * 3, theirs)
    reader.move("TRAIN.crop_size", "data.crop_size")
    reader.move("TRAIN.sample_rate", "data.frame_stride")
    jitter = reader.numbers("TRAIN.jitter_scales")
    if jitter is not None:
        if len(jitter) != 2:
            raise reader.misfit("TRAIN.jitter_scales", "the smallest and the largest short side")
        low, high = jitter
        reader.put("data.short_side", low, "TRAIN.jitter_scales")
        reader.put("data.short_side_jitter", [low, high], "TRAIN.jitter_scales")
    reader.put("data.resize", "keep_aspect", "MODEL.name")
    reader.put("data.resize_with", "plain", "MODEL.name")
    reader.put("data.flip", 0.5, "MODEL.name")
    reader.put("train.nesterov", reader.get("TRAIN.nesterov", True), "TRAIN.nesterov")
    reader.move("TRAIN.weight_decay", "train.weight_decay")
    reader.move("TRAIN.weight_decay_bn", "train.weight_decay_norms")
    sizes = reader.numbers("TRAIN.step_sizes")
    if sizes is not None:
        bounds = [sum(sizes[: i + 1]) for i in range(len(sizes))]
        reader.put("train.decay_at", bounds, "TRAIN.step_sizes")
        reader.put("train.decay_unit", "steps", "TRAIN.step_sizes")
    for section, ours in (("TEST", "eval"), ("INFER", "predict")):
        crops = {0: 1, 1: 3, 2: 6}.get(reader.number(f"{section}.use_multi_crop", 0), 1)
        views = reader.number(f"{section}.num_test_clips")
        reader.put(f"{ours}.num_crops", crops, f"{section}.use_multi_crop")
        if views is not None:
            reader.put(f"{ours}.num_clips", views // crops, f"{section}.num_test_clips")
        reader.move(f"{section}.crop_size", f"{ours}.crop_size")
        scales = reader.numbers(f"{section}.jitter_scales")
        if scales is not None:
            reader.put(f"{ours}.short_side", scales[0], f"{section}.jitter_scales")
    train = reader.config.sections.get("TRAIN", {})
    for section in ("VALID", "TEST", "INFER"):
        for key in ("sample_rate", "video_length"):
            if reader.config.sections.get(section, {}).get(key) == train.get(key):
                reader.drop([f"{section}.{key}"])
    # The 2019 test list repeats every video 30 times, without its class; the list with the classes
    # stands in filename_gt, and the views come from the settings above.
    if reader.get("TEST.filename_gt"):
        reader.move("TEST.filename_gt", "data.test")
    reader.drop(["TEST.dataset_size", "TEST.checkpoint_dir", "INFER.checkpoint_dir"])
    reader.drop(["TRAIN.max_iter", "TRAIN.scale_momentum", "RESNETS.trans_func"])


def _tagging(reader: _Reader, batch_size: int | None) -> None:
    """Attention Cluster, Attention LSTM, NeXtVLAD: the feature reader of YouTube-8M."""
    _training(reader)
    model = reader.config.model
    reader.move("MODEL.num_classes", "model.num_classes")
    reader.move("MODEL.drop_rate", "model.dropout")
    reader.move("MODEL.topk", "predict.top_k")
    reader.drop(["MODEL.bone_network", "MODEL.bone_nework", "MODEL.UNIQUE"])
    batch = batch_size or reader.number("TRAIN.batch_size", least=1)
    if model == "nextvlad":
        _nextvlad(reader, batch)
        return
    streams = _streams(reader)
    if model == "attention_cluster":
        _add_clusters(reader, streams)
        reader.move("MODEL.seg_num", "model.num_frames")
        reader.put("train.optimizer", "adam", "MODEL.name")
        reader.put("train.weight_decay", 0.0, "MODEL.name")
    else:
        reader.move("MODEL.embedding_size", "model.embedding_size")
        reader.move("MODEL.lstm_size", "model.lstm_size")
        reader.put("train.optimizer", "rmsprop", "MODEL.name")
        reader.put(
            "train.weight_decay", reader.get("TRAIN.weight_decay", 8e-4), "TRAIN.weight_decay"
        )
        _lstm_schedule(reader, batch)
    reader.put("model.streams", streams, "MODEL.feature_names")


def _streams(reader: _Reader) -> list[dict[str, Any]]:
    names, dims = reader.get("MODEL.feature_names"), reader.get("MODEL.feature_dims")
    if not (isinstance(names, list) and isinstance(dims, list) and len(names) == len(dims)):
        raise ConfigError(
            f"{reader.config.source}: MODEL.feature_names and MODEL.feature_dims: expected two "
            f"lists of one length, got {names!r} and {dims!r}"
        )
    stated = reader.get("MODEL.feature_num", len(names))
    if stated != len(names):
        raise ConfigError(
            f"{reader.config.source}: MODEL.feature_num is {stated}, but MODEL.feature_names "
            f"names {len(names)}; make them agree"
        )
    return [{"name": name, "dim": dim} for name, dim in zip(names, dims, strict=True)]


def _add_clusters(reader: _Reader, streams: list[dict[str, Any]]) -> None:
    clusters = reader.get("MODEL.cluster_nums")
    if not isinstance(clusters, list) or len(clusters) != len(streams):
        raise ConfigError(
            f"{reader.config.source}: MODEL.cluster_nums: expected {len(streams)} numbers, one a "
            f"feature, got {clusters!r}"
        )
    for stream, number in zip(streams, clusters, strict=True):
        stream["clusters"] = number


def _lstm_schedule(reader: _Reader, batch: int | None) -> None:
    """The rate drops at epochs of `num_samples` videos, whatever the length of the list."""
    epochs = reader.numbers("TRAIN.decay_epochs", [5])
    videos = reader.number("TRAIN.num_samples", 5000000)
    factor = reader.get("TRAIN.decay_gamma", 0.1)
    if batch is None:
        return
    reader.put("train.schedule", "steps", "TRAIN.decay_epochs")
    reader.put(
        "train.decay_at", [epoch * (videos / batch) for epoch in epochs], "TRAIN.decay_epochs"
    )
    reader.put("train.decay_unit", "steps", "TRAIN.decay_epochs")
    reader.put("train.decay_factor", factor, "TRAIN.decay_gamma")


def _nextvlad(reader: _Reader, batch: int | None) -> None:
    video, audio = reader.get("MODEL.video_feature_size"), reader.get("MODEL.audio_feature_size")
    # the sizes that frames are brought to were fixed, whatever the features
    streams = [
        {"name": "rgb", "dim": video or 1024, "size": 1024, "half_step": False},
        {"name": "audio", "dim": audio or 128, "size": 128, "half_step": True},
    ]
    reader.put("model.streams", streams, "MODEL.video_feature_size")
    for key in ("cluster_size", "hidden_size", "groups", "expansion", "gating_reduction"):
        reader.move(f"MODEL.{key}", f"model.{key}")
    reader.move("MODEL.eigen_file", "model.eigen_file")
    reader.put("train.optimizer", "adam", "MODEL.name")
    reader.move("TRAIN.l2_penalty", "train.weight_decay")
    factor = reader.get("TRAIN.learning_rate_decay", 0.8)
    examples = reader.number("TRAIN.lr_boundary_examples", least=1)
    most = reader.number("TRAIN.max_iter")
    if batch is None or examples is None or most is None:
        return
    every = max(int(examples) // batch, 1)
    if most // every > _MOST_DROPS:
        raise reader.misfit("TRAIN.max_iter", f"at most {_MOST_DROPS} drops of the learning rate")
    drops = [float(at) for at in range(every, int(most), every)]
    if drops:
        reader.put("train.schedule", "steps", "TRAIN.lr_boundary_examples")
        reader.put("train.decay_at", drops, "TRAIN.lr_boundary_examples")
        reader.put("train.decay_unit", "steps", "TRAIN.lr_boundary_examples")
        reader.put("train.decay_factor", factor, "TRAIN.learning_rate_decay")

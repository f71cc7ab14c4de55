"""The 2019 YAML files of Attention Cluster, Attention LSTM and NeXtVLAD."""

from __future__ import annotations

from typing import Any

from videozoo.config_v1.reader import Reader, read_shared_keys
from videozoo.errors import ConfigError

_MOST_DROPS = 10_000


def read(reader: Reader) -> None:
    """Attention Cluster, Attention LSTM, NeXtVLAD: the feature reader of YouTube-8M."""
    read_shared_keys(reader)
    model = reader.config.model
    reader.move("MODEL.num_classes", "model.num_classes")
    reader.move("MODEL.drop_rate", "model.dropout")
    reader.move("MODEL.topk", "predict.top_k")
    reader.drop(["MODEL.bone_network", "MODEL.bone_nework", "MODEL.UNIQUE"])
    batch = reader.batch_size or reader.number("TRAIN.batch_size", least=1)
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


def _streams(reader: Reader) -> list[dict[str, Any]]:
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


def _add_clusters(reader: Reader, streams: list[dict[str, Any]]) -> None:
    clusters = reader.get("MODEL.cluster_nums")
    if not isinstance(clusters, list) or len(clusters) != len(streams):
        raise ConfigError(
            f"{reader.config.source}: MODEL.cluster_nums: expected {len(streams)} numbers, one "
            f"per feature, got {clusters!r}"
        )
    for stream, number in zip(streams, clusters, strict=True):
        stream["clusters"] = number


def _lstm_schedule(reader: Reader, batch: int | None) -> None:
    """Drop the rate at epochs of `num_samples` videos, not of the list's length."""
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


def _nextvlad(reader: Reader, batch: int | None) -> None:
    video, audio = reader.get("MODEL.video_feature_size"), reader.get("MODEL.audio_feature_size")
    # the 2019 library fixed the sizes that features are projected to
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

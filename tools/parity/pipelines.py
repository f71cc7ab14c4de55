"""Captioning and moment retrieval from end to end: 2019's scripts on made data, and ours on it.

The files of the original are read by our readers, its start weights trained, evaluated and
predicted with by our tasks.
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_

from tools.parity.nets import _network, _paddle_epsilon, _Tensors
from tools.parity.rows import Row
from videozoo.config import RunConfig, load_config
from videozoo.data.captions import (
    CaptionBatch,
    CaptionDataset,
    input_events,
    load_events,
    read_vocabulary,
)
from videozoo.data.loader import EvalLoader, TrainLoader
from videozoo.data.moments import (
    MomentSet,
    PairBatch,
    PairDataset,
    SearchDataset,
    load_moments,
    open_windows,
    read_moments,
)
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.schedule import LearningRate, make_schedule
from videozoo.models.tall import losses
from videozoo.ops.sentences import caption_loss
from videozoo.safe_pickle import load_pickle
from videozoo.tasks import captioning, moments
from videozoo.tasks.captioning.scoring import sized
from videozoo.tasks.loading import Trained, paddle_names
from videozoo.tasks.requests import ConfigSource, EvalRequest, PredictRequest

EXACT = 0.0
SUMS = 1e-5
"""Of features, relative: float32 sums in another order."""
LOSS = 1e-5
LOGGED = 5.1e-5
"""Absolute: four decimals were logged."""
FRAMES = 1e-3
PARAMETERS = 1e-6
"""Absolute, after training."""
NOISE = 1e-6
"""Adam takes steps of full size whatever the gradient's; where it is zero but for rounding, as a
share of all gradients' norm, the way is anyone's."""


def covers(name: str) -> bool:
    """Whether a recorded set of this name is checked here."""
    return name in ("ets_pipeline", "tall_pipeline")


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    yield from (_ets if folder.name.startswith("ets") else _tall)(folder)


def _config(folder: Path, name: str) -> RunConfig:
    """The recorded 2019 file, its paths made whole."""
    config = load_config(folder / f"{name}.yaml")
    values = {
        f"{section}.{key}": str(folder / value)
        for section in ("data", "predict")
        for key, value in config.as_dict()[section].items()
        if isinstance(value, str) and (folder / value).exists()
    }
    return config.replace("", {**values, "data.num_workers": 0})


def _quietly(run: Callable[[Console], Any]) -> Any:
    """Call a task without its tables."""
    with contextlib.redirect_stderr(io.StringIO()):
        return run(Console(file=io.StringIO()))


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _train(
    folder: Path, config: RunConfig, batches: Sequence[Any], loss_of: Callable[[Any, Any], Tensor]
) -> Iterator[tuple[nn.Module, Tensor]]:
    """Train as recorded; the module and the loss at each step, before the step is taken."""
    weights = load_pickle(folder / f"{config.name.upper()}_start.pdparams", encoding="latin1")
    module = _network(config.spec, config.model, weights).train()
    settings = config.train
    optimizer = build_optimizer(module, config.spec.parameter_rules(module), settings)
    rate = LearningRate(optimizer, make_schedule(settings, len(batches)))
    for number in range(settings.epochs * len(batches)):
        rate.set(number)
        loss = loss_of(module, batches[number % len(batches)])
        optimizer.zero_grad()
        loss.backward()
        yield module, loss.detach()
        assert settings.clip_gradient_norm is not None
        clip_grad_norm_(module.parameters(), settings.clip_gradient_norm)
        _paddle_epsilon(optimizer, number + 1)
        optimizer.step()


def _parameters(folder: Path, config: RunConfig, module: nn.Module, sure: Any) -> Iterator[Row]:
    """Parameters after training, where gradients are more than rounding."""
    tensors = _Tensors(module, paddle_names(config, folder))
    file = folder / "ckpt" / f"{config.name.upper()}.pdparams"
    theirs: Mapping[str, NDArray[Any]] = load_pickle(file, encoding="latin1")
    error, left = 0.0, 0
    for name, array in theirs.items():
        known = sure[name].reshape(array.shape)
        difference = np.abs(tensors.value(name).reshape(array.shape) - array)
        error = max(error, float(difference[known].max(initial=0.0)))
        left += int((~known).sum())
    total = sum(array.size for array in theirs.values())
    yield Row("parameters", error, PARAMETERS, f"{left} of {total} without a gradient left out")


class _Sure:
    """Which gradients are more than rounding, in every step."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self.by_name: dict[str, NDArray[np.bool_]] = {}

    def look(self, module: nn.Module) -> None:
        names = paddle_names(self._config, "2019")
        tensors = _Tensors(module, names)
        ours = {place.name: tensors.gradient(place.name) for place in names.values()}
        whole = float(np.sqrt(sum(np.square(array).sum() for array in ours.values())))
        for name, array in ours.items():
            large = np.abs(array) > NOISE * whole
            self.by_name[name] = self.by_name.get(name, large) & large


def _logged(folder: Path, pattern: str) -> list[float]:
    text = (folder / "log_train.txt").read_text("utf-8")
    return [float(value) for value in re.findall(pattern, text)]


# ---- ETS ----------------------------------------------------------------------------------------


def _ets(folder: Path) -> Iterator[Row]:
    start = folder / "ETS_start.pdparams"
    config = _config(folder, "ets").replace("", {"eval.meteor": False})
    assert config.data.vocabulary is not None
    vocabulary = read_vocabulary(config.data.vocabulary)
    config = sized(config, vocabulary, "dict.txt")
    recorded = _json(folder / "reader.json")
    dims: dict[str, Any] = {"feature_dim": config.model.feature_dim}
    events = {
        "train": load_events(config.data, "train", **dims),
        "valid": load_events(config.data, "val", **dims),
        "test": load_events(config.data, "test", **dims),
        "infer": input_events((str(config.predict.inputs),), config.data, config.model.feature_dim),
    }
    for mode, theirs in recorded.items():
        dataset = CaptionDataset(events[mode], vocabulary, config.data, **dims)
        batches = EvalLoader(dataset, config.data, batch_size=1)
        ours = [(batch, events[mode].events[int(batch.events[0])]) for batch in batches]
        if mode == "train":  # recorded sorted by sums, as the order is drawn
            ours.sort(key=_place_of_ours)
            theirs.sort(key=_place_of_theirs)
        yield from _events(mode, ours[: len(theirs)], theirs, len(ours))

    trained = Trained(config=config, path=start)
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        source = ConfigSource()
        _quietly(
            lambda c: captioning.evaluate(
                trained, EvalRequest(source=source, save_dir=out), console=c
            )
        )
        _quietly(
            lambda c: captioning.predict(
                trained, PredictRequest(source=source, save_dir=out), console=c
            )
        )
        for name, there in (("test", "eval_out"), ("infer", "predict_out")):
            file = f"ETS_{name}_res_.json"
            ours, theirs = _json(out / file)["results"], _json(folder / there / file)["results"]
            wrong = sum(ours.get(video) != listed for video, listed in theirs.items())
            wrong += len(ours.keys() - theirs.keys())
            yield Row(f"{name}: captions filed", wrong, EXACT, f"{len(theirs)} videos, wrong ones")
    yield from _ets_training(folder, config, vocabulary)


def _place_of_ours(one: tuple[CaptionBatch, Any]) -> tuple[list[int], float]:
    return one[0].words[0].tolist(), float(one[0].features.sum())


def _place_of_theirs(one: Mapping[str, Any]) -> tuple[list[int], float]:
    return one["rest"][0], one["feat_sum"]


def _events(
    mode: str, ours: Sequence[tuple[CaptionBatch, Any]], theirs: Sequence[Any], count: int
) -> Iterator[Row]:
    """Features and words of each event as they were read."""
    wrong, error = 0, 0.0
    for (batch, event), there in zip(ours, theirs, strict=True):
        rest = there["rest"]
        wrong += int(batch.lengths[0]) != there["feat_rows"]
        if mode in ("train", "valid"):
            wrong += [batch.words[0].tolist(), batch.targets[0].tolist()] != rest
        else:
            wrong += [event.video, event.start_seconds, event.end_seconds] != rest[2:]
        total = float(batch.features.double().sum())
        error = max(error, abs(total / there["feat_sum"] - 1))
    yield Row(f"{mode}: events", wrong, EXACT, f"{len(theirs)} of {count}, wrong ones")
    yield Row(f"{mode}: sums of features", error, SUMS)


def _ets_training(folder: Path, config: RunConfig, vocabulary: Any) -> Iterator[Row]:
    def loss_of(module: nn.Module, batch: CaptionBatch) -> Tensor:
        return caption_loss(module(batch.features, batch.lengths, batch.words), batch.targets)

    common: dict[str, Any] = {"feature_dim": config.model.feature_dim}
    learnt = load_events(config.data, "train", **common)
    dataset = CaptionDataset(learnt, vocabulary, config.data, **common)
    found = TrainLoader(dataset, config.data, batch_size=config.train.batch_size)
    size = _validation_batch(folder)
    listed = load_events(config.data, "val", **common)
    dataset = CaptionDataset(listed, vocabulary, config.data, **common)
    alone = EvalLoader(dataset, config.data, batch_size=1)
    kept = tuple(listed.events[int(batch.events[0])] for batch in alone)
    usable = replace(listed, events=kept)  # the original skipped first and made batches then
    dataset = CaptionDataset(usable, vocabulary, config.data, **common)
    held_out = EvalLoader(dataset, config.data, batch_size=size)
    valid = [batch for batch in held_out if len(batch) == size]
    sure, ours, module = _Sure(config), list[float](), None
    checked: list[float] = []
    for module, loss in _train(folder, config, list(found.epoch(0)), loss_of):
        if ours:  # after the step before
            checked += _validated(module, valid, loss_of)
        ours.append(float(loss))
        sure.look(module)
    assert module is not None
    checked += _validated(module, valid, loss_of)
    theirs = _logged(folder, r"\[TRAIN .*Loss = ([\d.]+)")
    yield Row("train: losses", _worst(ours, theirs), LOSS, f"{len(theirs)} steps")
    theirs = _logged(folder, r"\[TEST\] test_iter .*Loss = ([\d.]+)")
    yield Row("train: validation losses", _worst(checked, theirs), LOSS, f"{len(theirs)} batches")
    yield from _parameters(folder, config, module, sure.by_name)


def _validation_batch(folder: Path) -> int:
    """Batch of the original's validation, which ours does not have."""
    text = (folder / "ets.yaml").read_text("utf-8").partition("VALID:")[2]
    found = re.search(r"batch_size: (\d+)", text)
    assert found is not None
    return int(found[1])


def _validated(
    module: nn.Module, batches: Sequence[Any], loss_of: Callable[[Any, Any], Tensor]
) -> list[float]:
    with torch.no_grad():
        return [float(loss_of(module, batch)) for batch in batches]


def _worst(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Largest relative error; infinite where their numbers differ."""
    if len(ours) != len(theirs) or not ours:
        return float("inf")
    return max(abs(a / b - 1) for a, b in zip(ours, theirs, strict=True))


# ---- TALL ---------------------------------------------------------------------------------------


def _tall(folder: Path) -> Iterator[Row]:
    config = _config(folder, "tall")
    model, data = config.model, config.data
    dims: dict[str, Any] = {"visual_dim": model.visual_dim, "sentence_dim": model.sentence_dim}
    train = load_moments(data, "train", **dims)
    with np.load(folder / "reader.npz", allow_pickle=False) as arrays:
        recorded = {name: arrays[name] for name in arrays.files}
    batches = TrainLoader(PairDataset(train, data), data, batch_size=config.train.batch_size)
    yield from _pairs(batches, recorded)

    assert config.predict.inputs is not None
    assert config.predict.clips is not None
    windows = open_windows(config.predict.clips, data, visual_dim=dims["visual_dim"], clips=True)
    asked = read_moments(config.predict.inputs, windows, data, sentence_dim=dims["sentence_dim"])
    for mode, found in (("test", load_moments(data, "test", **dims)), ("infer", asked)):
        yield from _items(mode, found, data, recorded)

    trained = Trained(config=config, path=folder / "TALL_start.pdparams")
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary)
        source = ConfigSource()
        facts = _quietly(
            lambda c: moments.evaluate(trained, EvalRequest(source=source, save_dir=out), console=c)
        )
        _quietly(
            lambda c: moments.predict(
                trained, PredictRequest(source=source, save_dir=out), console=c
            )
        )
        yield from _recalls(folder, facts["recall_2019"])
        name = "TALL_test_res_.json"
        ours, theirs = _json(out / name)["results"], _json(folder / "eval_out" / name)["results"]
        error = max(abs(ours[key] - value) for key, value in theirs.items())
        yield Row("test: R@1 and R@5 filed", error, EXACT)
        name = "TALL_infer_res_.json"
        ours, theirs = _json(out / name)["results"], _json(folder / "predict_out" / name)["results"]
        table = [np.array([found[movie] for movie in sorted(theirs)]) for found in (ours, theirs)]
        error = float(np.abs(table[0] - table[1]).max())
        yield Row("infer: moments filed", error, FRAMES, "frames")
    yield from _tall_training(folder, config, batches)


def _pairs(batches: TrainLoader[PairBatch], recorded: Mapping[str, Any]) -> Iterator[Row]:
    """What training reads; recorded sorted by sentence and clip, as the order is drawn."""
    read = [
        (batch.sentences.numpy(), batch.visual.numpy(), batch.offsets.numpy())
        for batch in batches.epoch(0)
    ]
    ours = [np.concatenate(arrays) for arrays in zip(*read, strict=True)]
    theirs = [recorded[f"train/{name}"] for name in ("sentence", "visual", "offset")]
    error = float("inf")
    if len(ours[0]) == len(theirs[0]):
        tables = [_sorted(arrays) for arrays in (ours, theirs)]
        error = float(np.abs(tables[0] - tables[1]).max())
    yield Row("train: pairs", error, SUMS, f"{len(theirs[0])} pairs")


def _sorted(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    table = np.concatenate(arrays, axis=1)
    return table[np.lexsort(table.T[::-1])]


def _items(mode: str, found: MomentSet, data: Any, recorded: Mapping[str, Any]) -> Iterator[Row]:
    """Every sentence with every clip of its movie, movies by name."""
    rows: dict[str, list[NDArray[Any]]] = {"visual": [], "sentence": [], "start_end": []}
    order = sorted(range(len(found.videos)), key=lambda number: found.videos[number].name)
    loader = EvalLoader(SearchDataset(found), data, batch_size=1)
    batches = {int(batch.videos[0]): batch for batch in loader}
    for number in order:
        batch, windows = batches[number], found.videos[number].windows
        for vector in batch.sentences[0].numpy():
            rows["visual"] += list(batch.visual[0].numpy())
            rows["sentence"] += [vector] * len(windows)
            rows["start_end"] += list(windows)
    for name, listed in rows.items():
        theirs, ours = recorded[f"{mode}/{name}"], np.stack(listed)
        error = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
        yield Row(f"{mode}: {name}", error, SUMS, f"{len(theirs)} items")


def _recalls(folder: Path, ours: Sequence[Mapping[str, float]]) -> Iterator[Row]:
    text = (folder / "log_eval.txt").read_text("utf-8")
    last = re.findall(r"\]:  IoU= [^\n]*", text)  # of all movies together
    theirs = {
        (int(n), float(limit)): float(value)
        for line in last
        for limit, n, value in re.findall(r"IoU= ([\d.]+), R@(\d+): ([\d.]+)", line)
    }
    found = {(int(row["n"]), row["tiou"]): row["share"] for row in ours}
    wrong = sum(found.get(key) != value for key, value in theirs.items())
    yield Row("test: R@n at tIoU", wrong, EXACT, f"{len(theirs)} values, those that differ")


def _tall_training(
    folder: Path, config: RunConfig, batches: TrainLoader[PairBatch]
) -> Iterator[Row]:
    def loss_of(module: nn.Module, batch: PairBatch) -> Tensor:
        return losses(module(batch.visual, batch.sentences), batch.offsets).total

    sure, ours, module = _Sure(config), list[float](), None
    for module, loss in _train(folder, config, list(batches.epoch(0)), loss_of):
        ours.append(float(loss))
        sure.look(module)
    assert module is not None
    theirs = _logged(folder, r"\[TRAIN .*Loss = ([\d.]+)")
    error = float("inf")
    if len(ours) == len(theirs):
        error = float(np.abs(np.array(ours) - theirs).max())
    yield Row("train: losses", error, LOGGED, f"{len(theirs)} steps")
    yield from _parameters(folder, config, module, sure.by_name)

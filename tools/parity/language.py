"""Captions and moments: ETS and TALL, how moments are chosen and counted, scores of captions."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.rnn import pad_sequence

from tools.parity import golden
from tools.parity.golden import Arrays
from tools.parity.nets import (
    _network,
    _of_largest,
    _paddle_epsilon,
    _Tensors,
    _worst,
    names_of_2019,
)
from tools.parity.rows import Row, of_size
from videozoo.engine.optimizer import build_optimizer
from videozoo.engine.schedule import LearningRate, make_schedule
from videozoo.engine.settings import TrainSettings
from videozoo.metrics.captions import (
    Meteor,
    TimedCaption,
    caption_scores,
    dense_caption_scores,
    has_java,
    ptb_tokens,
)
from videozoo.metrics.moments import Search, distinct, recall_2019, tiou_2019
from videozoo.models.ets import ETS, ETSSettings
from videozoo.models.ets import SPEC as ETS_SPEC
from videozoo.models.tall import SPEC as TALL_SPEC
from videozoo.models.tall import TALL, TALLSettings, losses
from videozoo.ops.sentences import PADDING, START, Caption, caption_loss
from videozoo.types import ModelSpec

EXACT = 0.0
OUTPUTS = 1e-5
"""Of the largest; 1e-6 was seen."""
SCORES = 2e-5
"""Of their size: log-probabilities summed over a sentence; 5e-6 was seen."""
LOSS = 1e-5
GRADIENTS = 1e-4
"""Of the largest in each array."""
ZERO = 1e-6
"""Of the norm of all gradients: what an array may be off whose gradient is zero but for rounding,
that of fc_6, which the softmax takes out."""
PARAMETERS = 1e-6
"""Absolute, after a step."""
RATE = 1e-6
SUMS = 1e-12
"""Of their size: float64 sums, added in another order perhaps."""
NAMES = {
    "bleu_1": "Bleu_1",
    "bleu_2": "Bleu_2",
    "bleu_3": "Bleu_3",
    "bleu_4": "Bleu_4",
    "rouge_l": "ROUGE_L",
    "cider": "CIDEr",
    "meteor": "METEOR",
    "precision": "Precision",
    "recall": "Recall",
}
"""Our name of a score to the recorded one."""


def covers(name: str) -> bool:
    """Whether a recorded set of this name is checked here."""
    return name in ("ets", "tall", "tall_metrics", "caption_metrics")


def check(folder: Path) -> Iterator[Row]:
    """Compare one recorded set."""
    checkers: dict[str, Callable[[Path], Iterator[Row]]] = {
        "ets": _ets,
        "tall": _tall,
        "tall_metrics": _moments,
        "caption_metrics": _captions,
    }
    yield from checkers[folder.name](folder)


# ---- training, the same for both networks -------------------------------------------------------


@dataclass(frozen=True)
class Batch:
    """What a step is fed."""

    loss_of: Callable[[Any], Tensor]
    """From the module."""


@dataclass(frozen=True)
class Run:
    """A recorded training run."""

    prefix: str
    """Of its arrays."""
    batches: Sequence[Batch]
    settings: TrainSettings


def _train(
    spec: ModelSpec, make: Callable[[], nn.Module], run: Run, recorded: Arrays, names: Any
) -> Iterator[Row]:
    module = make().train()
    tensors = _Tensors(module, names)
    optimizer = build_optimizer(module, spec.parameter_rules(module), run.settings)
    rate = LearningRate(optimizer, make_schedule(run.settings, 1))
    for number, batch in enumerate(run.batches):
        step = f"{run.prefix}step{number + 1}/"
        error = abs(rate.set(number) / recorded[f"{step}lr"].item() - 1)
        yield Row(f"{step}learning rate", error, RATE)
        loss = batch.loss_of(module)
        error = abs(loss.item() / recorded[f"{step}loss"].item() - 1)
        yield Row(f"{step}loss", error, LOSS)
        optimizer.zero_grad()
        loss.backward()
        if number == 0 and not run.prefix:
            yield from _gradients(tensors, recorded)
        assert run.settings.clip_gradient_norm is not None
        norm = clip_grad_norm_(module.parameters(), run.settings.clip_gradient_norm).item()
        if number == 0:
            error = abs(norm / recorded["global_grad_norm"].item() - 1)
            yield Row(f"{step}norm of all gradients", error, GRADIENTS)
        _paddle_epsilon(optimizer, number + 1)
        optimizer.step()
        after = _under(recorded, f"{step}param/")
        errors = [np.abs(tensors.value(name) - array).max() for name, array in after.items()]
        yield Row(f"{step}parameters", float(max(errors)), PARAMETERS, f"{len(after)} arrays")


def _gradients(tensors: _Tensors, recorded: Arrays) -> Iterator[Row]:
    theirs = _under(recorded, "grad/")
    whole = recorded["global_grad_norm"].item()
    noise = {name for name, array in theirs.items() if np.linalg.norm(array) < ZERO * whole}
    ours = {name: tensors.gradient(name) for name in theirs}
    real = {name: array for name, array in theirs.items() if name not in noise}
    yield Row("gradients", _worst(ours, real), GRADIENTS, f"{len(real)} arrays")
    if noise:
        largest = max(float(np.linalg.norm(ours[name])) for name in noise)
        yield Row("gradients that are zero", largest / whole, ZERO, ", ".join(sorted(noise)))


def _under(arrays: Arrays, prefix: str) -> Arrays:
    return {k.removeprefix(prefix): v for k, v in arrays.items() if k.startswith(prefix)}


# ---- ETS ----------------------------------------------------------------------------------------


def _ets(folder: Path) -> Iterator[Row]:
    description = golden.meta(folder)
    config, weights = description["config"], golden.weights(folder)
    settings = ETSSettings(
        vocabulary_size=description["dict_size"],
        feature_dim=config["feat_size"],
        embedding_size=config["fc_dim"],
        gru_size=config["gru_hidden_dim"],
        decoder_size=config["decoder_size"],
        word_size=config["word_emb_dim"],
    )

    def make() -> ETS:
        module = _network(ETS_SPEC, settings, weights)
        assert isinstance(module, ETS)
        return module

    inputs, outputs = golden.arrays(folder, "inputs"), golden.arrays(folder, "outputs")
    yield from _searches(make().eval(), inputs, outputs, config["max_length"])

    train = golden.arrays(folder, "train")
    features, lengths = _videos(train)
    words, targets = _sentences(train)
    with torch.no_grad():
        module = make().eval()
        encoded = module.encode(features, lengths)
        logits = module(features, lengths, words)
        prob = logits.softmax(dim=2)[words != PADDING]
        pieces = {"sequence": encoded.states, "proj": encoded.projected}
        for name, ours in pieces.items():
            flat = torch.cat([row[:n] for row, n in zip(ours, lengths.tolist(), strict=True)])
            yield Row(f"encoder: {name}", _of_largest(flat, train[f"encoded_{name}"]), OUTPUTS)
        error = _of_largest(encoded.vector, train["encoded_vector"])
        yield Row("encoder: vector", error, OUTPUTS)
        yield Row("prob of known sentences", _of_largest(prob, train["prob"]), OUTPUTS)
        error = abs(caption_loss(logits, targets).item() / train["loss"].item() - 1)
        yield Row("loss", error, LOSS)

    section = description["train_cfg"]
    common = TrainSettings(
        optimizer="adam",
        weight_decay=section["l2_weight_decay"],
        schedule="noam",
        noam_size=config["gru_hidden_dim"],
        noam_warmup_steps=section["noam_warmup"],
        clip_gradient_norm=section["clip_norm"],
    )
    batches = [_caption_batch(train, ""), _caption_batch(train, "step2/")]
    runs = [Run("", batches, common)]
    if "clip/clip_norm" in train:
        norm = train["clip/clip_norm"].item()
        runs.append(Run("clip/", batches, common.model_copy(update={"clip_gradient_norm": norm})))
    for run in runs:
        yield from _train(ETS_SPEC, make, run, train, names_of_2019(ETS_SPEC, settings))


def _searches(module: ETS, inputs: Arrays, outputs: Arrays, max_length: int) -> Iterator[Row]:
    features, lengths = _videos(inputs)
    everything = {"batch": range(len(lengths))} | {
        f"single{i}": range(i, i + 1) for i in range(len(lengths))
    }
    for size in sorted({int(name.split("/")[0].removeprefix("beam")) for name in outputs}):
        there = {name.split("/")[1] for name in outputs if name.startswith(f"beam{size}/")}
        groups = {group: everything[group] for group in sorted(there)}
        wrong, error = 0, 0.0
        for group, videos in groups.items():
            count = lengths[list(videos)]
            found = module.caption(
                features[list(videos), : int(count.max())],
                count,
                beam_size=size,
                max_length=max_length,
            )
            theirs = _recorded(_under(outputs, f"beam{size}/{group}/"))
            wrong += [[c.tokens for c in video] for video in found] != [
                [tokens for tokens, _ in video] for video in theirs
            ]
            error = max(error, _score_error(found, theirs))
        note = f"{len(groups)} searches"
        yield Row(f"beam {size}: token ids", wrong, EXACT, f"{note}, those that differ")
        yield Row(f"beam {size}: scores", error, SCORES, note)


Recorded = list[list[tuple[tuple[int, ...], NDArray[np.float32]]]]
"""By video, best first: tokens and scores."""


def _recorded(arrays: Arrays) -> Recorded:
    sentences = [
        (tuple(arrays["ids"][first:last].tolist()), arrays["scores"][first:last])
        for first, last in zip(arrays["lod1"], arrays["lod1"][1:], strict=False)
    ]
    levels = zip(arrays["lod0"], arrays["lod0"][1:], strict=False)
    return [sentences[first:last] for first, last in levels]


def _score_error(found: Sequence[Sequence[Caption]], theirs: Recorded) -> float:
    ours = [score for video in found for caption in video for score in caption.scores]
    other = [score for video in theirs for _, scores in video for score in scores]
    return of_size(ours, other)


def _videos(arrays: Arrays, prefix: str = "") -> tuple[Tensor, Tensor]:
    lengths = torch.from_numpy(arrays[f"{prefix}feat_len"])
    frames = torch.from_numpy(arrays[f"{prefix}feat"]).split(lengths.tolist())
    return pad_sequence(list(frames), batch_first=True), lengths


def _sentences(arrays: Arrays, prefix: str = "") -> tuple[Tensor, Tensor]:
    """Words from the start token on, and those that follow."""
    counts = arrays[f"{prefix}word_len"].tolist()
    words, targets = (
        pad_sequence(
            list(torch.from_numpy(arrays[f"{prefix}{name}"].ravel()).split(counts)),
            batch_first=True,
            padding_value=PADDING,
        )
        for name in ("word", "word_next")
    )
    assert (words[:, 0] == START).all()
    return words, targets


def _caption_batch(arrays: Arrays, prefix: str) -> Batch:
    (features, lengths), (words, targets) = _videos(arrays, prefix), _sentences(arrays, prefix)
    return Batch(lambda module: caption_loss(module(features, lengths, words), targets))


# ---- TALL ---------------------------------------------------------------------------------------


def _tall(folder: Path) -> Iterator[Row]:
    description = golden.meta(folder)
    config, weights = description["config"], golden.weights(folder)
    settings = TALLSettings(
        visual_dim=config["visual_feature_dim"],
        sentence_dim=config["sentence_embedding_size"],
        semantic_size=config["semantic_size"],
        hidden_size=config["hidden_size"],
    )

    def make() -> TALL:
        module = _network(TALL_SPEC, settings, weights)
        assert isinstance(module, TALL)
        return module

    inputs, outputs = golden.arrays(folder, "inputs"), golden.arrays(folder, "outputs")
    visual, sentences = (torch.from_numpy(inputs[name]) for name in ("visual", "sentence"))
    train = golden.arrays(folder, "train")
    with torch.no_grad():
        module = make().eval()
        single = module.pairs(visual, sentences)[:, :, None, None]
        yield Row("pairs", _of_largest(single, outputs["single"]), OUTPUTS)
        yield Row("grid", _of_largest(module.grid(visual, sentences), outputs["grid"]), OUTPUTS)
        clips, asked, offsets = _moment_tensors(train, "")
        outs = module(clips, asked)
        yield Row("train outputs", _of_largest(outs, train["outs"]), OUTPUTS)
        error = abs(losses(outs, offsets).total.item() / train["loss"].item() - 1)
        yield Row("loss", error, LOSS)
    section = description["train_cfg"]
    run = Run(
        "",
        [_moment_batch(train, ""), _moment_batch(train, "step2/")],
        TrainSettings(
            optimizer="adam",
            learning_rate=section["learning_rate"],
            weight_decay=0,
            clip_gradient_norm=section["clip_norm"],
        ),
    )
    yield from _train(TALL_SPEC, make, run, train, names_of_2019(TALL_SPEC, settings))


def _moment_tensors(arrays: Arrays, prefix: str) -> tuple[Tensor, Tensor, Tensor]:
    visual, sentences, offsets = (
        torch.from_numpy(arrays[prefix + name]) for name in ("visual", "sentence", "offset")
    )
    return visual, sentences, offsets


def _moment_batch(arrays: Arrays, prefix: str) -> Batch:
    visual, sentences, offsets = _moment_tensors(arrays, prefix)
    return Batch(lambda module: losses(module(visual, sentences), offsets).total)


# ---- how moments are chosen and counted ---------------------------------------------------------


def _moments(folder: Path) -> Iterator[Row]:
    recorded = json.loads((folder / "tall_metrics.json").read_text("utf-8"))
    wrong = 0
    for case in recorded["nms"]:
        moments = np.stack((case["start"], case["end"]), axis=1)
        picks = distinct(moments, case["score"], limit=case["overlap"])
        wrong += picks.tolist() != case["picks"]
    yield Row("moments left", wrong, EXACT, f"{len(recorded['nms'])} cases, those that differ")
    errors = [abs(tiou_2019(c["a"], c["b"]).item() - c["iou"]) for c in recorded["iou"]]
    yield Row("tIoU", max(errors), SUMS, f"{len(errors)} pairs")

    movies = {movie["name"]: _searches_of(movie) for movie in recorded["movies"]}
    movies[""] = [search for searches in movies.values() for search in searches]
    differ, counts = 0, 0
    for line in recorded["test_log"]:
        movie, values = _parsed(line)
        for (n, limit), value in values.items():
            differ += recall_2019(movies[movie], n=n, threshold=limit) != value
            counts += 1
    yield Row("R@n at tIoU", differ, EXACT, f"{counts} values, those that differ")
    best = recorded["test_file"]["results"]
    for n in (1, 5):
        error = abs(recall_2019(movies[""], n=n, threshold=0.5) - best[f"best_R{n}_IOU5"])
        yield Row(f"R@{n} at tIoU 0.5 as filed", error, EXACT)

    error = 0.0
    for movie, listed in recorded["infer_file"]["results"].items():
        for number, start, end in listed:
            found = movies[movie][number].ranked(limit=0.45)[0]
            error = max(error, of_size(found, (start, end)))
    yield Row("best moments", error, SUMS, "frames")


def _searches_of(movie: Mapping[str, Any]) -> list[Search]:
    outputs = np.asarray(movie["outputs"], np.float64)
    clips = np.array([_times(clip) for clip in movie["clips"]], np.float64)
    return [
        Search(clips + row[:, 1:], row[:, 0], np.array(_times(sentence), np.float64))
        for sentence, row in zip(movie["sentences"], outputs, strict=True)
    ]


def _times(name: str) -> tuple[int, int]:
    """Of MOVIE_START_END."""
    _, start, end = name.rsplit("_", 2)
    return int(start), int(end)


def _parsed(line: str) -> tuple[str, dict[tuple[int, float], float]]:
    """Movie (none: all) and R@n by n and tIoU, from a line of the log."""
    found = re.findall(r"IoU= ([\d.]+), R@(\d+): ([\d.]+)", line)
    return line.split(" ")[0], {(int(n), float(limit)): float(value) for limit, n, value in found}


# ---- scores of captions -------------------------------------------------------------------------


def _captions(folder: Path) -> Iterator[Row]:
    java = has_java()
    recorded = json.loads((folder / "caption.json").read_text("utf-8"))
    keys = list(recorded["tok_references"])
    references = [recorded["tok_references"][key] for key in keys]
    hypotheses = [recorded["tok_hypotheses"][key][0] for key in keys]
    if java:
        with Meteor() as meteor:
            found = caption_scores(references, hypotheses, meteor=meteor)
    else:
        found = caption_scores(references, hypotheses)
    for name, value in found.corpus.items():
        theirs = recorded["scores"][NAMES[name]]
        error = of_size([value, *found.each[name]], [theirs["corpus"], *theirs["each"]])
        yield Row(f"{name} of texts", error, SUMS, f"{len(keys)} captions")
    if java:
        texts = [t for k in keys for t in (*recorded["references"][k], *recorded["hypotheses"][k])]
        words = [
            t
            for k in keys
            for t in (*recorded["tok_references"][k], *recorded["tok_hypotheses"][k])
        ]
        differ = sum(a != b for a, b in zip(ptb_tokens(texts), words, strict=True))
        yield Row("words of texts", differ, EXACT, f"{len(texts)} texts, those that differ")

    dense = json.loads((folder / "densevid_scores.json").read_text("utf-8"))
    truths = [_truth(path) for path in sorted(folder.glob("val_*.json"))]
    ours = dense_caption_scores(
        _submitted(folder / "submission.json"), truths, meteor=java, tious=dense["tious"]
    )
    for name, values in ours.by_tiou.items():
        theirs = dense["scores"][NAMES[name]]
        average = dense["average"][NAMES[name]]
        error = of_size([*values, ours.average[name]], [*theirs, average])
        yield Row(f"dense {name}", error, SUMS, ours.note)


def _truth(path: Path) -> dict[str, list[TimedCaption]]:
    return {
        video: [
            TimedCaption(start, end, sentence)
            for (start, end), sentence in zip(entry["timestamps"], entry["sentences"], strict=True)
        ]
        for video, entry in json.loads(path.read_text("utf-8")).items()
    }


def _submitted(path: Path) -> dict[str, list[TimedCaption]]:
    results = json.loads(path.read_text("utf-8"))["results"]
    return {
        video: [TimedCaption(e["timestamp"][0], e["timestamp"][1], e["sentence"]) for e in entries]
        for video, entries in results.items()
    }

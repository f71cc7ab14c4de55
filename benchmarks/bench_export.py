"""The twelve models as exported files: how they differ, how fast they answer, how large they are.

Each model has the sizes of its packaged configuration and fresh weights. It is exported as by
`videozoo export`, which compares the graph with the model; then both answer the same input, are
compared again, and take turns: the model in PyTorch, the file in onnxruntime, one thread each.
Decoding after the network is the same code for both and is not timed, but for captions: there the
search calls the network word by word.

    python -m benchmarks export
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from benchmarks.harness import (
    Options,
    Outcome,
    Target,
    as_figures,
    check_close,
    main,
    measure,
    one_thread,
    ratio,
)
from videozoo.config import RunConfig, from_layers, load_config
from videozoo.engine.devices import make_accelerator
from videozoo.packaged_configs import find_config
from videozoo.tasks.captioning.scoring import caption_model
from videozoo.tasks.classification.scoring import scorer_of
from videozoo.tasks.loading import Trained, config_for_weights, save_trained
from videozoo.tasks.localisation.exported import localiser_model
from videozoo.tasks.moments.scoring import moment_model
from videozoo.tasks.requests import ConfigSource, ExportRequest
from videozoo.tasks.run import task_module
from videozoo.tasks.tagging.scoring import tagging_model
from videozoo.weights.exported import read_description

Answer = Callable[[], Sequence[Tensor]]

MOST = 1e-4
"""Between answers to the timed input, relative to the largest where that is above 1."""
SMALLER = 0.005
"""Of the last layer of a clip model: logits of about one."""
WORDS = 11_000
"""As many as the vocabulary of the published ETS; fewer in a quick run."""


@dataclass(frozen=True)
class Case:
    """One model."""

    name: str
    small: dict[str, Any]
    """Settings of a quick run."""
    rounds: int = 15


CASES = [
    Case("tsn", {"depth": 18, "num_segments": 2}, 7),
    Case("tsm", {"depth": 18, "num_segments": 2}, 7),
    Case("stnet", {"depth": 18, "num_segments": 2, "frames_per_segment": 2}, 5),
    Case("nonlocal", {}, 3),
    Case("attention_cluster", {"hidden_sizes": [64, 64]}),
    Case("attention_lstm", {"lstm_size": 16, "hidden_sizes": [64, 64]}, 5),
    Case("nextvlad", {"cluster_size": 8, "hidden_size": 64}),
    Case("bmn", {"num_steps": 20, "num_durations": 20, "num_samples": 4}, 7),
    Case("bsn", {}),
    Case("ctcn", {"width": 0.05}, 3),
    Case("ets", {"gru_size": 16, "decoder_size": 16}, 7),
    Case("tall", {}),
]
QUICK = ("attention_cluster", "bsn", "tall")
"""The models of a quick run."""


def answers(trained: Trained, config: RunConfig) -> Answer:
    """What a model, or an exported file, says of one input that depends on the model alone."""
    accelerator, model = make_accelerator(device="cpu"), config.model
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    match trained.config.spec.task.name:
        case "classification":
            shape = read_description(trained.path.with_suffix(".onnx")).clips
            assert shape is not None
            clips = torch.randint(256, (1, *shape.shape), generator=generator, dtype=torch.uint8)
            scorer = scorer_of(trained, trained.config, accelerator)
            return lambda: [torch.from_numpy(scorer(clips))]
        case "tagging":
            frames = getattr(model, "num_frames", None) or 300
            streams = [random(1, frames, each["dim"]) for each in model.model_dump()["streams"]]
            tagger = tagging_model(trained, trained.config, accelerator)
            return lambda: [tagger(streams, torch.tensor([frames]))]
        case "captioning":
            features, lengths = random(1, 120, model.feature_dim), torch.tensor([120])
            writer = caption_model(trained, trained.config, accelerator)

            def written() -> list[Tensor]:
                (best,) = writer.caption(features, lengths, beam_size=3, max_length=20)
                return [torch.tensor(each.scores[-1]) for each in best]

            return written
        case "moments":
            clips, sentences = random(128, model.visual_dim), random(1, model.sentence_dim)
            finder = moment_model(trained, trained.config, accelerator)
            return lambda: [finder(clips, sentences)]
        case _:
            network = localiser_model(trained, trained.config, accelerator)
            size = getattr(model, "tem", model)
            features = random(1, size.feature_dim, size.num_steps)
            return lambda: _arrays(network(features))


def _arrays(outputs: Any) -> list[Tensor]:
    """The outputs of a localiser without its proposals, which rounding orders in fresh weights."""
    found = outputs if isinstance(outputs, dict) else outputs._asdict()
    return [found[name] for name in ("maps", "offsets", "logits", "curves") if name in found]


def tell_classes_apart(module: nn.Module) -> None:
    """Make the last layer of a fresh clip model smaller.

    Its logits are in the hundreds, so that scores would be 0 and 1, equal whatever lies before.
    """
    last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(SMALLER)


def exported(case: Case, folder: Path, *, quick: bool) -> tuple[Trained, Trained, RunConfig]:
    """Write fresh weights of a model and export them: both of them, and the configuration."""
    config = load_config(find_config(Path(case.name)))
    words: list[str] | None = None
    changed = dict(case.small) if quick else {}
    if case.name == "ets":
        words = ["<s>", "<e>", "<unk>", *(f"w{n}" for n in range(50 if quick else WORDS))]
        changed["vocabulary_size"] = len(words)
    sections = config.as_dict()
    sections["model"] |= changed
    config = from_layers([("", sections)])
    torch.manual_seed(0)
    weights = folder / f"{case.name}.safetensors"
    module = config.spec.build(config.model)
    if config.spec.task.name == "classification":
        tell_classes_apart(module)
    save_trained(weights, module, config, words, {}, None)
    quiet = Console(stderr=True, quiet=True)
    file = task_module(config.spec.task.name).export(
        config_for_weights(ConfigSource(), str(weights)),
        ExportRequest(source=ConfigSource(), weights=str(weights)),
        console=quiet,
    )
    ours, theirs = (config_for_weights(ConfigSource(), str(path)) for path in (weights, file))
    return ours, theirs, ours.config


def compared(case: Case, folder: Path, options: Options) -> tuple[dict[str, Any], float]:
    """The row of one model, and how many times as long PyTorch takes."""
    ours, theirs, config = exported(case, folder, quick=options.quick)
    model, file = (torch.no_grad()(answers(each, config)) for each in (ours, theirs))
    largest = 0.0
    for number, (got, expected) in enumerate(zip(file(), model(), strict=True)):
        scale = max(1.0, float(expected.abs().max()))
        what = f"{case.name}: output {number}"
        largest = max(largest, check_close(what, got / scale, expected / scale, most=MOST))
    rounds = 1 if options.quick else case.rounds * (2 if options.full else 1)
    timings = measure({"pytorch": model, "onnxruntime": file}, rounds=rounds)
    about = read_description(theirs.path)
    assert about.check is not None
    files = sorted(folder.glob(f"{case.name}*.onnx"))
    return {
        "title": about.title,
        "files": [each.name for each in files],
        "megabytes": round(sum(each.stat().st_size for each in files) / 1e6, 1),
        "largest_difference": max(about.check["largest_difference"], largest),
        "compared_on": about.check.get("inputs", "random clips"),
        **as_figures(timings),
    }, ratio(timings, "pytorch", "onnxruntime")


def run(options: Options) -> Outcome:
    """Export and time all models; a quick run takes the smallest."""
    one_thread()
    figures: dict[str, Any] = {}
    targets: list[Target] = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            if options.quick and case.name not in QUICK:
                continue
            row, times = compared(case, Path(folder), options)
            figures[case.name] = row
            title, difference = row["title"], row["largest_difference"]
            print(f"{title}: {', '.join(_cells(row))}", file=sys.stderr, flush=True)
            targets.append(
                Target(
                    name=f"exported {title}: largest difference",
                    limit=MOST,
                    figure=difference,
                    is_least=False,
                    unit="",
                )
            )
            targets.append(Target(name=f"exported {title}: PyTorch / onnxruntime", figure=times))
            for path in Path(folder).iterdir():
                path.unlink()
    _show(figures)
    return Outcome("export", targets, figures, packages=("torch", "onnxruntime", "onnxscript"))


def _show(figures: dict[str, Any]) -> None:
    shown = Table("model", "files", "MB", "difference", "PyTorch ms", "onnxruntime ms")
    for row in figures.values():
        shown.add_row(row["title"], *_cells(row))
    Console(stderr=True).print(shown)


def _cells(row: dict[str, Any]) -> list[str]:
    times = (f"{row[side]['cpu_ms']:.1f}" for side in ("pytorch", "onnxruntime"))
    size, difference = f"{row['megabytes']:.1f}", f"{row['largest_difference']:.1g}"
    return [str(len(row["files"])), size, difference, *times]


if __name__ == "__main__":
    main(run)

"""The command lines of the 2019 library: train.py, eval.py, predict.py, inference_model.py.

The flags, their defaults and their spelling are those of the 2019 library; they do what `videozoo
train`, `eval`, `predict` and `export` do.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from videozoo.cli.parser import Parser, bad_flags, guarded, let_threads_sleep
from videozoo.commands import flags_of_2019
from videozoo.errors import DataError, RunError, UsageError

if TYPE_CHECKING:
    from videozoo.tasks.requests import ConfigSource, Device


def train(argv: Sequence[str] | None = None) -> int:
    """`python train.py ...`; returns the exit status."""
    return _main("train.py", _train_parser, _run_train, argv)


def evaluate(argv: Sequence[str] | None = None) -> int:
    """`python eval.py ...`; returns the exit status."""
    return _main("eval.py", _eval_parser, _run_eval, argv)


def predict(argv: Sequence[str] | None = None) -> int:
    """`python predict.py ...`; returns the exit status."""
    return _main("predict.py", _predict_parser, _run_predict, argv)


def inference(argv: Sequence[str] | None = None) -> int:
    """`python inference_model.py ...`; returns the exit status."""
    return _main("inference_model.py", _inference_parser, _run_inference, argv)


def _main(
    program: str,
    build: Callable[[str], argparse.ArgumentParser],
    run: Callable[[argparse.Namespace], None],
    argv: Sequence[str] | None,
) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    let_threads_sleep()

    def command() -> None:
        try:
            parsed = build(program).parse_args(arguments)
        except SystemExit:  # --help has printed its answer
            return
        _complete(parsed)
        with flags_of_2019():
            run(parsed)

    return guarded(command, debug="--debug" in arguments)


def _complete(parsed: argparse.Namespace) -> None:
    """Find the configuration of the model, or the model of the configuration: one is enough.

    Raises:
        UsageError: Neither is given.
        ConfigError: There is no such model or configuration.
    """
    if parsed.config is None and parsed.model_name is None:
        raise UsageError("expected --model_name=NAME or --config=FILE, or both")
    if parsed.config is None and _hold_configuration(getattr(parsed, "weights", None)):
        return
    if parsed.config is None:
        from videozoo.models import model_name
        from videozoo.packaged_configs import config_folder

        parsed.config = config_folder() / f"{model_name(parsed.model_name)}.yaml"
        print(f"note: no --config: taking {parsed.config}", file=sys.stderr)
    elif parsed.model_name is None:
        from videozoo.config import load_config
        from videozoo.config_v1 import SPELLINGS

        name = load_config(parsed.config, overrides=parsed.overrides).name
        parsed.model_name = SPELLINGS.get(name, name.upper())


def _hold_configuration(weights: str | None) -> bool:
    """Whether weights on this machine store their configuration, as those of videozoo do."""
    if not weights or not os.path.exists(weights):  # noqa: PTH110 - the text may be a name
        return False
    from videozoo.tasks.loading import holds_configuration

    return holds_configuration(weights)


def python_bool(text: str) -> bool:
    """Read the value of a flag as the 2019 library did: a Python literal.

    >>> python_bool("True"), python_bool("false"), python_bool("0")
    (True, False, False)
    """
    try:
        value: Any = ast.literal_eval(text.strip().capitalize())
    except (ValueError, SyntaxError):
        value = None
    if value not in (True, False):
        raise argparse.ArgumentTypeError(f"expected True or False, got {text!r}")
    return bool(value)


def _common(program: str, description: str) -> Parser:
    parser = Parser(prog=program, description=description)
    parser.add_argument("--model_name", metavar="NAME", help="by default the model of --config")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE|NAME",
        help="by default the one stored with --weights, else the packaged one for --model_name",
    )
    parser.add_argument(
        "--use_gpu",
        type=python_bool,
        metavar="True|False",
        help="by default a GPU is used where there is one",
    )
    parser.add_argument(
        "--log_interval", type=int, default=10, metavar="STEPS", help="for training only"
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    parser.add_argument("--drop", action="append", default=[], metavar="PREFIX")
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    return parser


def _train_parser(program: str) -> argparse.ArgumentParser:
    parser = _common(program, "Train a model (2019 flags; see also `videozoo train`).")
    parser.add_argument("--batch_size", type=int, metavar="N", help="over all devices")
    parser.add_argument("--learning_rate", type=float, metavar="X")
    parser.add_argument(
        "--pretrain",
        metavar="WEIGHTS",
        help="weights to start from; by default the published ones; none: fresh ones",
    )
    parser.add_argument("--resume", metavar="CHECKPOINT", help="run to continue")
    parser.add_argument("--epoch", type=int, metavar="N", help="0: as configured")
    parser.add_argument("--valid_interval", type=int, default=1, metavar="EPOCHS", help="0: never")
    parser.add_argument(
        "--save_dir", type=Path, default=Path("data/checkpoints"), help="run goes to DIR/NAME"
    )
    parser.add_argument("--fix_random_seed", type=python_bool, default=False, metavar="True|False")
    parser.add_argument("--no_memory_optimize", action="store_true", help="no effect")
    parser.add_argument("--profiler_path", default="./", help="no effect")
    parser.add_argument("--is_profiler", type=int, default=0, help="no effect")
    parser.add_argument("--overwrite", action="store_true", help="move an earlier run aside first")
    return parser


def _eval_parser(program: str) -> argparse.ArgumentParser:
    parser = _common(program, "Evaluate a model (2019 flags; see also `videozoo eval`).")
    parser.add_argument("--batch_size", type=int, metavar="N")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--save_dir", type=Path, default=Path("data/evaluate_results"))
    bad_flags(parser, spelling="--skip_bad")
    return parser


def _predict_parser(program: str) -> argparse.ArgumentParser:
    parser = _common(program, "Predict with a model (2019 flags; see also `videozoo predict`).")
    parser.add_argument("--batch_size", type=int, default=1, metavar="N")
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--filelist", metavar="FILE")
    parser.add_argument("--infer_topk", type=int, default=20, help="no effect; see predict.top_k")
    parser.add_argument("--save_dir", type=Path, default=Path("data/predict_results"))
    parser.add_argument("--video_path", metavar="FILE")
    bad_flags(parser, spelling="--skip_bad")
    return parser


def _inference_parser(program: str) -> argparse.ArgumentParser:
    parser = _common(
        program,
        "Write a trained model as one file that runs without its code (2019 flags; see also "
        "`videozoo export`). DIR/NAME_model.onnx replaces NAME_model.pdmodel and "
        "NAME_params.pdparams; it takes pixels or features and holds the weights and the "
        "class names. ETS has a second file, DIR/NAME_model.step.onnx, for the next word.",
    )
    parser.add_argument(
        "--batch_size", type=int, default=1, help="no effect; the file takes any batch size"
    )
    parser.add_argument("--weights", metavar="FILE")
    parser.add_argument("--save_dir", type=Path, default=Path())
    return parser


def _source(parsed: argparse.Namespace, flags: dict[str, tuple[str, Any]]) -> ConfigSource:
    from videozoo.tasks.requests import ConfigSource

    return ConfigSource(
        path=parsed.config,
        model=parsed.model_name,
        overrides=tuple(parsed.overrides),
        flags=flags,
    ).checked()


def _device(parsed: argparse.Namespace) -> Device:
    if parsed.use_gpu is None:
        return "auto"
    return "cuda" if parsed.use_gpu else "cpu"


def _weights(parsed: argparse.Namespace) -> str | None:
    """Return --weights; None means the published file, as in the 2019 library."""
    if parsed.weights:
        return str(parsed.weights)
    run = Path("data/checkpoints") / parsed.model_name
    own = f" (your own run: --weights={run})" if run.exists() else ""
    print(f"note: no --weights: taking the published ones, as in 2019{own}", file=sys.stderr)
    return None


def _run_train(parsed: argparse.Namespace) -> None:
    from videozoo.tasks import run
    from videozoo.tasks.requests import TrainRequest

    save_dir = parsed.save_dir / parsed.model_name
    if parsed.resume:
        save_dir = _run_of(parsed.resume, save_dir)
    run.train(
        TrainRequest(
            source=_source(
                parsed,
                {
                    "train.epochs": ("--epoch", parsed.epoch or None),
                    "train.batch_size": ("--batch_size", parsed.batch_size),
                    "train.learning_rate": ("--learning_rate", parsed.learning_rate),
                    "train.seed": ("--fix_random_seed", 1000 if parsed.fix_random_seed else None),
                },
            ),
            save_dir=save_dir,
            device=_device(parsed),
            pretrain=parsed.pretrain or "default",
            pretrain_or_fresh=not parsed.pretrain,
            drop=tuple(parsed.drop),
            resume=bool(parsed.resume),
            overwrite=parsed.overwrite,
            log_interval=parsed.log_interval,
            valid_interval=parsed.valid_interval,
            fixed_seed=parsed.fix_random_seed,
        )
    )


def _run_of(resume: str, default: Path) -> Path:
    """The run folder that --resume names: the folder itself, or SAVE_DIR/NAME_epochN."""
    given = Path(resume)
    for folder in (given, default):
        if (folder / "last").is_dir():
            if folder != given and given.parent != default.parent:
                break
            return folder
    raise RunError(
        f"--resume {resume}: no run there; expected a folder that training wrote, e.g. {default}"
    )


def _on_videos(parsed: argparse.Namespace) -> dict[str, Any]:
    """What `eval` and `predict` both ask."""
    return {
        "weights": _weights(parsed),
        "save_dir": parsed.save_dir / parsed.model_name,  # each model has reports of its own
        "files_dir": parsed.save_dir,
        "device": _device(parsed),
        "drop": tuple(parsed.drop),
        "strict": parsed.strict,
        "skip_bad": parsed.skip_bad,
    }


def _run_eval(parsed: argparse.Namespace) -> None:
    from videozoo.tasks import run
    from videozoo.tasks.requests import EvalRequest

    run.evaluate(
        EvalRequest(
            source=_source(parsed, {"eval.batch_size": ("--batch_size", parsed.batch_size)}),
            **_on_videos(parsed),
        )
    )


def _run_predict(parsed: argparse.Namespace) -> None:
    from videozoo.tasks import asking
    from videozoo.tasks.requests import PredictRequest

    given = parsed.video_path or parsed.filelist
    if given and not os.path.exists(given):  # noqa: PTH110 - the text is also a flag's value
        flag = "--video_path" if parsed.video_path else "--filelist"
        raise DataError(f"{flag} {given}: no such file")
    if _plain(parsed.model_name) == "tall":
        given = None  # its sentences and clips come from the configuration, as in 2019
    asking.predict(
        PredictRequest(
            source=_source(parsed, {"predict.batch_size": ("--batch_size", parsed.batch_size)}),
            weights=_weights(parsed),
            inputs=(str(given),) if given else (),
            save_dir=parsed.save_dir / parsed.model_name,  # each model has reports of its own
            files_dir=parsed.save_dir,
            device=_device(parsed),
            drop=tuple(parsed.drop),
            strict=parsed.strict,
            skip_bad=parsed.skip_bad,
        )
    )


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace("-", "")


def _run_inference(parsed: argparse.Namespace) -> None:
    from videozoo.tasks import run
    from videozoo.tasks.requests import ExportRequest

    if parsed.drop:
        raise UsageError("--drop: a model is exported with all of its parameters; leave it out")
    run.export(
        ExportRequest(
            source=_source(parsed, {}),
            weights=_weights(parsed),
            output=parsed.save_dir / f"{parsed.model_name}_model.onnx",
            overwrite=True,  # as in 2019
        )
    )

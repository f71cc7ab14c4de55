"""videozoo train | eval | predict | models | config | demo: each command is one short function.

Nothing here imports torch or numpy before it must: help and a wrong flag answer at once.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from videozoo import __version__
from videozoo.errors import UsageError, VideozooError

if TYPE_CHECKING:
    from videozoo.tasks.requests import ConfigSource


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        Exit status: 0 done, 1 the user's input is wrong, 2 the command line is wrong,
        130 interrupted.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    let_threads_sleep()
    return guarded(lambda: _run(arguments), debug="--debug" in arguments)


def let_threads_sleep() -> None:
    """Make idle threads of the network wait asleep; to be called before torch is imported.

    By default they spin, and take the cores from the processes that decode; on a busy machine a
    training step then takes many times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def guarded(command: Callable[[], None], *, debug: bool) -> int:
    """Call `command`; turn what it raises into one message and an exit status.

    Args:
        command: Prints its own results.
        debug: Let exceptions through, so that the traceback shows.
    """
    try:
        command()
    except VideozooError as error:
        if debug:
            raise
        print(f"videozoo: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        if debug:
            raise
        print("videozoo: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `videozoo models | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except Exception as error:
        if debug:
            raise
        print(
            f"videozoo: unexpected {type(error).__name__}: {error}\n"
            "this is a fault of videozoo; run again with --debug to see where, and report it",
            file=sys.stderr,
        )
        return 1
    return 0


class Parser(argparse.ArgumentParser):
    """argparse that names the nearest flag or command, and raises instead of leaving."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError with the usage one step away."""
        raise UsageError(f"{message}\ntry `{self.prog} --help`")

    def parse_known_args(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, args: Any = None, namespace: Any = None
    ) -> Any:
        """Refuse unknown flags first: a misspelt one is why a required one seems missing."""
        words = list(sys.argv[1:] if args is None else args)
        for word in takewhile(self._is_own, words):
            flag = word.partition("=")[0]
            is_flag = word.startswith("-") and not word[1:2].isdigit() and word != "-"
            if is_flag and flag not in self._flags():
                self.error(f"unknown flag {flag}{_nearest(flag, self._flags())}")
        known, extra = super().parse_known_args(words, namespace)
        if isinstance(getattr(known, "inputs", None), list):  # `predict a.mp4 --top-k 3 b.mp4`
            known.inputs += extra
            extra = []
        return known, extra

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        """Name the nearest of the words that there are."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            flag = next(iter(action.option_strings), None)
            what = f"value of {flag}" if flag else "command"
            self.error(f"unknown {what} {value!r}{_nearest(str(value), known)}")

    def _is_own(self, word: str) -> bool:
        """Whether flags may still follow: `--` ends them, and a command has its own."""
        return word != "--" and (self._subparsers is None or word.startswith("-"))

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]


def _nearest(word: str, known: Sequence[str]) -> str:
    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def build_parser() -> argparse.ArgumentParser:
    """Every command and flag."""
    parser = Parser(
        prog="videozoo",
        description="Understand video: from mp4 to answer.",
        epilog="First run: videozoo demo",
    )
    parser.add_argument("--debug", action="store_true", help="show tracebacks")
    parser.add_argument("--version", action="version", version=f"videozoo {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", parser_class=Parser)

    train = _command(commands, "train", run_train)
    _config_flags(train, required=True)
    train.add_argument("--save-dir", type=Path, metavar="DIR", default=Path("runs/train"))
    train.add_argument(
        "--data", type=Path, metavar="DIR", help="folder with one folder of videos a class"
    )
    train.add_argument("--pretrain", metavar="WEIGHTS", help="weights to start from")
    _drop_flag(train)
    train.add_argument("--resume", action="store_true", help="go on from DIR/last")
    train.add_argument("--overwrite", action="store_true", help="move a run in DIR aside first")
    train.add_argument("--epochs", type=int, metavar="N")
    train.add_argument("--batch-size", type=int, metavar="N", help="over all devices")
    train.add_argument("--learning-rate", type=float, metavar="X")
    train.add_argument("--seed", type=int, metavar="N")
    train.add_argument(
        "--deterministic", action="store_true", help="only algorithms that repeat exactly"
    )
    train.add_argument("--log-interval", type=int, metavar="STEPS", default=10)
    train.add_argument("--valid-interval", type=int, metavar="EPOCHS", default=1, help="0: never")
    train.add_argument("--tensorboard", action="store_true")
    _device_flag(train)

    evaluate = _command(commands, "eval", run_eval)
    _config_flags(evaluate, required=False)
    evaluate.add_argument("--weights", metavar="RUN|FILE", required=True)
    evaluate.add_argument(
        "--data", type=Path, metavar="PATH", help="list or folder to use instead of data.test"
    )
    evaluate.add_argument("--save-dir", type=Path, metavar="DIR", default=Path("runs/eval"))
    evaluate.add_argument("--batch-size", type=int, metavar="N", help="views in one forward pass")
    evaluate.add_argument("--skip-bad", action="store_true", help="go on without unreadable videos")
    _drop_flag(evaluate)
    _device_flag(evaluate)

    predict = _command(commands, "predict", run_predict)
    predict.add_argument("inputs", nargs="*", metavar="INPUT", help="video, folder, glob or list")
    _config_flags(predict, required=False)
    predict.add_argument("--weights", metavar="RUN|FILE", required=True)
    predict.add_argument("--save-dir", type=Path, metavar="DIR", default=Path("runs/predict"))
    predict.add_argument("--top-k", type=int, metavar="K", help="classes listed for each video")
    predict.add_argument("--skip-bad", action="store_true", help="go on without unreadable videos")
    _drop_flag(predict)
    _device_flag(predict)

    _command(commands, "models", run_models)

    config = _command(commands, "config", None, help_="Show what a run will use.")
    verbs = config.add_subparsers(metavar="VERB", dest="verb", required=True, parser_class=Parser)
    show = _command(verbs, "show", run_config_show)
    show.add_argument("config", type=Path, metavar="FILE")
    show.add_argument("--model", metavar="NAME")
    show.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")

    demo = _command(commands, "demo", run_demo)
    demo.add_argument("--folder", type=Path, default=Path("demo"), metavar="DIR")
    demo.add_argument("--seed", type=int, default=0, metavar="N")
    _device_flag(demo)
    return parser


def _run(arguments: Sequence[str]) -> None:
    parser = build_parser()
    try:
        parsed = parser.parse_args(arguments)
    except SystemExit:  # --help and --version have printed their answer
        return
    if parsed.command is None:
        parser.print_help()
        return
    parsed.run(parsed)


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None] | None, *, help_: str = ""
) -> argparse.ArgumentParser:
    text = help_ or ((run.__doc__ or "").strip().partition("\n")[0] if run else "")
    command: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    if run is not None:
        command.set_defaults(run=run)
    return command


def _config_flags(command: argparse.ArgumentParser, *, required: bool) -> None:
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        required=required,
        help="a YAML file such as configs/tsm.yaml"
        + ("" if required else "; by default the one stored with the weights"),
    )
    command.add_argument("--model", metavar="NAME", help="must agree with the file")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change any value: --set train.epochs=3 (repeatable)",
    )


def _drop_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PREFIX",
        help="leave parameters under this name as they start (--drop head)",
    )


def _device_flag(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def _source(parsed: argparse.Namespace, flags: dict[str, str]) -> ConfigSource:
    """Gather --config, --set and the flags that stand for one key."""
    from videozoo.tasks.requests import ConfigSource

    given = {
        key: (flag, getattr(parsed, flag.strip("-").replace("-", "_")))
        for flag, key in flags.items()
    }
    return ConfigSource(
        path=parsed.config, model=parsed.model, overrides=tuple(parsed.overrides), flags=given
    )


def run_train(parsed: argparse.Namespace) -> None:
    """Train a model; writes a run folder."""
    from videozoo.tasks import run
    from videozoo.tasks.requests import TrainRequest

    flags = {
        "--epochs": "train.epochs",
        "--batch-size": "train.batch_size",
        "--learning-rate": "train.learning_rate",
        "--seed": "train.seed",
    }
    run.train(
        TrainRequest(
            source=_source(parsed, flags),
            save_dir=parsed.save_dir,
            data=parsed.data,
            device=parsed.device,
            pretrain=parsed.pretrain,
            drop=tuple(parsed.drop),
            resume=parsed.resume,
            overwrite=parsed.overwrite,
            log_interval=parsed.log_interval,
            valid_interval=parsed.valid_interval,
            fixed_seed=parsed.deterministic,
            tensorboard=parsed.tensorboard,
        )
    )


def run_eval(parsed: argparse.Namespace) -> None:
    """Score a trained model on labelled videos."""
    from videozoo.tasks import run
    from videozoo.tasks.requests import EvalRequest

    run.evaluate(
        EvalRequest(
            source=_source(parsed, {"--batch-size": "eval.batch_size"}),
            weights=parsed.weights,
            data=parsed.data,
            save_dir=parsed.save_dir,
            device=parsed.device,
            drop=tuple(parsed.drop),
            skip_bad=parsed.skip_bad,
        )
    )


def run_predict(parsed: argparse.Namespace) -> None:
    """Say what happens in videos."""
    from videozoo.tasks import run
    from videozoo.tasks.requests import PredictRequest

    run.predict(
        PredictRequest(
            source=_source(parsed, {"--top-k": "predict.top_k"}),
            weights=parsed.weights,
            inputs=tuple(parsed.inputs),
            save_dir=parsed.save_dir,
            device=parsed.device,
            drop=tuple(parsed.drop),
            skip_bad=parsed.skip_bad,
        )
    )


def run_models(parsed: argparse.Namespace) -> None:
    """List the models."""
    from videozoo.models import list_models, model_summary

    names = list_models()
    width = max(map(len, names))
    for name in names:
        print(f"{name:<{width}}  {model_summary(name)}")


def run_config_show(parsed: argparse.Namespace) -> None:
    """Print every value a run will use, and where it came from."""
    from videozoo.config import describe_file

    print(describe_file(parsed.config, model=parsed.model, overrides=parsed.overrides))


def run_demo(parsed: argparse.Namespace) -> None:
    """Make videos, train on them, predict on new ones: a first run with nothing to download."""
    from videozoo.tasks.demo import run

    run(folder=parsed.folder, seed=parsed.seed, device=parsed.device)

"""What every command line shares: a parser that helps, exit statuses, common flags.

Nothing here imports torch or numpy: help and a wrong flag answer at once.
"""

from __future__ import annotations

import argparse
import atexit
import errno
import gc
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TextIO, TypeVar, cast

from videozoo.errors import UsageError, VideozooError, is_out_of_memory
from videozoo.network import AGREED_FLAG
from videozoo.safe_names import any_encoding, shown

if TYPE_CHECKING:
    from videozoo.tasks.requests import ConfigSource

R = TypeVar("R")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk that takes no more."""
_OF_THE_MACHINE = (
    *_FULL,
    *(errno.EIO, errno.EROFS, errno.EACCES, errno.EPERM, errno.EBADF, errno.ESTALE),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENODEV, errno.ENXIO, errno.ENOTCONN),
    *(errno.ENAMETOOLONG, errno.ELOOP),
)
"""Errors of the machine: disks, rights, and limits of the system."""
_LONGEST_NAME = 300  # characters of a path in a message


def let_threads_sleep() -> None:
    """Let idle threads of PyTorch sleep; call it before torch is imported.

    By default they spin and take the cores from the processes that decode: on a busy machine a
    training step then takes many times as long.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def end_at_once() -> None:
    """Let the process end without a last search for garbage, which the system frees anyway.

    Python goes through every object that PyTorch and we have made: 0.7 s of processor time per
    command. On a busy machine that is ten seconds, for which a run whose other process has died
    seems to hang.
    """
    atexit.unregister(gc.freeze)  # it may be called many times
    atexit.register(gc.freeze)


def guarded(command: Callable[[], None], *, debug: bool) -> int:
    """Call `command`; turn an exception into one message and an exit status.

    It may print any text: terminals and pipes of any encoding work.

    Args:
        command: Prints its own results.
        debug: Let exceptions pass, so that the traceback shows.
    """
    _fill_standard_files()
    with any_encoding(*(file for file in (sys.stdout, sys.stderr) if file is not None)):
        status = _status_of(command, debug=debug)
        return status or _flushed()


def _status_of(command: Callable[[], None], *, debug: bool) -> int:
    try:
        command()
    except VideozooError as error:
        if debug:
            raise
        _complain(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        if debug:
            raise
        _complain("interrupted")
        return 130
    except BrokenPipeError:  # `videozoo models | head`
        _drop_output()
    except SystemExit as stop:  # rich ends the program so where it meets a broken pipe
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
    except Exception as error:
        if debug:
            raise
        if fault := _machine_fault(error):
            _complain(fault)
            if isinstance(error, OSError) and error.filename is None:
                _drop_output()
            return 1
        from videozoo.models import own_fault  # here: most commands do without

        if fault := own_fault(error):
            _complain(f"{fault}\nrun again with --debug to see more")
            return 1
        _complain(
            f"unexpected {type(error).__name__}: {error}\n"
            "this is a fault of videozoo; run again with --debug to see where, and report it"
        )
        return 1
    return 0


def _machine_fault(error: Exception) -> str | None:
    """What the machine lacks, or which process of a run has died; None for other errors."""
    if isinstance(error, OSError) and error.errno in _OF_THE_MACHINE:
        place = str(error.filename or "the output")
        if len(place) > _LONGEST_NAME:
            place = f"{place[:_LONGEST_NAME]}..."
        reads = error.filename is not None and error.errno not in _FULL
        return f"{place}: cannot be {'used' if reads else 'written'}: {error.strerror}"
    if is_out_of_memory(error):
        said = str(error).partition("\n")[0]
        return (
            f"memory does not suffice{f' ({said})' if said else ''}: take smaller batches, fewer "
            "processes that read (--set data.num_workers=N), or a machine with more"
        )
    if "torch" in sys.modules:
        from videozoo.engine.ranks import explained

        if why := explained(error):
            return f"{why}; what was written before is untouched; run this again"
    return None


def _complain(text: str) -> None:
    """Print an error, on standard output if standard error cannot take it."""
    for file in (sys.stderr, sys.stdout):
        try:
            print(f"videozoo: {text}", file=file, flush=True)
        except (OSError, ValueError):
            _drop_output(file)
            continue
        return


def _flushed() -> int:
    """Write what is still to be written, while an error can be told; the exit status."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _drop_output()
    except OSError as error:
        _complain(f"the output: cannot be written: {error.strerror}")
        _drop_output()
        return 1
    return 0


def _fill_standard_files() -> None:
    """Give standard input, output and error something to stand for, where they are closed.

    Else the next file that is opened, such as one of weights, would take their place, and what
    libraries print would go into it. Printing to a closed output is then an error.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is this one
    if sys.stdout is None:
        sys.stdout = _Closed()


class _Closed(io.TextIOBase):
    """A closed standard output."""

    def write(self, text: str, /) -> int:
        """Raise OSError, as writing to a closed file does."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF), "standard output")


def _drop_output(file: TextIO | None = None) -> None:
    """Let what is still to be printed go nowhere: Python prints it when it ends.

    Args:
        file: By default standard output.
    """
    with suppress(AttributeError, OSError, ValueError):  # it is closed, or no file of the system
        os.dup2(os.open(os.devnull, os.O_WRONLY), (file or sys.stdout).fileno())


class Parser(argparse.ArgumentParser):
    """argparse that suggests the nearest flag or command, and raises instead of exiting."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise UsageError that points to --help."""
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
        """Suggest the nearest known word."""
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            flag = next(iter(action.option_strings), None)
            plain = "command" if isinstance(action, argparse._SubParsersAction) else action.dest
            what = f"value of {flag}" if flag else plain
            self.error(f"unknown {what} {value!r}{_nearest(str(value), known)}")

    def _is_own(self, word: str) -> bool:
        """Whether flags may still follow: `--` ends them, and a command has its own."""
        return word != "--" and (self._subparsers is None or word.startswith("-"))

    def _flags(self) -> list[str]:
        return [flag for action in self._actions for flag in action.option_strings]


def _nearest(word: str, known: Sequence[str]) -> str:
    from difflib import get_close_matches  # here: most commands do without

    close = get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]}?" if close else ""


def command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], None] | None, *, help_: str = ""
) -> argparse.ArgumentParser:
    """Add a command; its help is the first line of what runs it."""
    text = help_ or ((run.__doc__ or "").strip().partition("\n")[0] if run else "")
    added: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    added.add_argument("--debug", action="store_true", help="show tracebacks")
    if run is not None:
        added.set_defaults(run=run)
    return added


def config_flags(
    command: argparse.ArgumentParser,
    *,
    default: str = "by default the one stored with the weights",
) -> None:
    """Add --config, --model and --set."""
    command.add_argument(
        "--config",
        type=Path,
        metavar="FILE|NAME",
        help=f"a YAML file, or a name of `videozoo config list` such as tsm; {default}",
    )
    command.add_argument(
        "--model",
        metavar="NAME|FILE",
        help="a model, which must agree with the file; or where the model file lies: my_model.py",
    )
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        dest="overrides",
        help="change any value: --set train.epochs=3 (repeatable)",
    )


def drop_flag(command: argparse.ArgumentParser) -> None:
    """Add --drop."""
    command.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="PREFIX",
        help="do not load parameters under this name (--drop head)",
    )


def bad_flags(command: argparse.ArgumentParser, *, spelling: str = "--skip-bad") -> None:
    """Add --strict and --skip-bad."""
    either = command.add_mutually_exclusive_group()
    either.add_argument(
        "--strict",
        action="store_true",
        help="stop at the first video that cannot be read; by default go on, name them at the end "
        "and exit with status 1",
    )
    either.add_argument(
        spelling,
        action="store_true",
        help="exit with status 0 even if videos cannot be read",
        dest="skip_bad",
    )


def weights_flag(command: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Add --weights; with `several` it may be given more than once."""
    more: dict[str, Any] = {"action": "append"} if several else {}
    again = "; several models answer in one call" if several else ""
    command.add_argument(
        "--weights",
        metavar="RUN|FILE|NAME",
        help="run folder, file, name of `videozoo weights list`, hf://OWNER/NAME of a shared run, "
        "or hf://OWNER/REPO/FILE; "
        f"by default those published for the model of --config{again}",
        **more,
    )


def encoder_flags(
    command: argparse.ArgumentParser, *, purpose: str, rate: str = "as in training"
) -> None:
    """Add the flags that say what makes features of videos."""
    command.add_argument(
        "--encoder",
        action="append",
        default=[],
        dest="encoders",
        metavar="NAME",
        help=f"{purpose}: a name of `videozoo encoders`, a run or weights of a clip model, a "
        "ResNet, a folder or hf://OWNER/NAME of Hugging Face, or an ONNX file (repeatable: "
        "the vectors of several are joined)",
    )
    command.add_argument(
        "--rate", type=float, metavar="X", help=f"features: vectors per second (default {rate})"
    )
    command.add_argument(
        "--window-seconds",
        type=float,
        metavar="X",
        help="features: stretch of video behind each vector (default: as the encoder was made "
        "for, else 1 / rate)",
    )
    command.add_argument(
        "--layer",
        type=_layer,
        metavar="LAYER",
        help="features (default); scores: class scores of a clip model, as C-TCN of the 2019 "
        "library reads them; or the number of a layer of a Hugging Face model",
    )
    command.add_argument(
        "--encoder-precision",
        choices=("fp32", "bf16", "fp16"),
        help="features of a Hugging Face model: number format in which it computes (default fp32; "
        "bf16 is far faster on recent GPUs, and changes features a little)",
    )
    command.add_argument(
        "--pooling",
        metavar="NAME",
        help="features of a Hugging Face model: how a vector is made (default: as suits it)",
    )


def _layer(text: str) -> str | int:
    """Read the name or the number of a layer."""
    if text in ("features", "scores"):
        return text
    if text.removeprefix("-").isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"expected features, scores or a number, got {text!r}")


def download_flag(command: argparse.ArgumentParser) -> None:
    """Add --allow-downloads."""
    command.add_argument(
        AGREED_FLAG,
        action="store_true",
        help="fetch encoders that only the weights or the run name and this machine lacks; "
        "by default a terminal is asked, and nothing else fetches them",
    )


def terminal_question() -> Callable[[str], bool] | None:
    """A function that puts a question to the user; None where nobody is there to answer."""
    is_one_of_many = int(os.environ.get("WORLD_SIZE") or 1) > 1
    if is_one_of_many or not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        print(f"{shown(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask


def device_flag(command: argparse.ArgumentParser) -> None:
    """Add --device."""
    command.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")


def config_source(parsed: argparse.Namespace, flags: dict[str, str]) -> ConfigSource:
    """Gather --config, --set and the flags that stand for one key.

    Call it before torch is imported: a file is checked here, so that a mistake in it answers at
    once.

    Raises:
        ConfigError: The file does not describe a valid run.
    """
    from videozoo.tasks.requests import ConfigSource

    given = {
        key: (flag, getattr(parsed, flag.strip("-").replace("-", "_")))
        for flag, key in flags.items()
    }
    return ConfigSource(
        path=parsed.config, model=parsed.model, overrides=tuple(parsed.overrides), flags=given
    ).checked()


def requested(kind: Callable[..., R], parsed: argparse.Namespace, **given: Any) -> R:
    """Fill in a request: what is not given comes from the flags with the names of its fields.

    Flags that were left out leave the request's defaults.
    """
    for name in {field.name for field in fields(cast(Any, kind))} - given.keys():
        value = getattr(parsed, name, None)
        if value is not None:
            given[name] = tuple(cast("list[Any]", value)) if isinstance(value, list) else value
    return kind(**given)

"""Result folders: written before anything is printed, never over results of another run."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from videozoo import __version__
from videozoo.engine.devices import finish
from videozoo.errors import IncompleteError, RunError, counted, few
from videozoo.safe_json import parse_json
from videozoo.tasks.common import write_json
from videozoo.tasks.extractor import Extraction
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import EvalRequest, PredictRequest, VideosRequest
from videozoo.weights.files import sha256_of
from videozoo.weights.hub_runs import local_name, reference_of

_MOST_NAMED = 20
_SAME = ("weights_sha256", "data", "inputs", "sentences")
"""Facts that must be equal for a new result to replace an old one."""


@dataclass(frozen=True)
class ResultFolder:
    """The folder that an evaluation or a prediction writes to.

    Results of other weights or other videos in this folder are moved to `old-1`, `old-2`, ...
    """

    path: Path
    name: Literal["eval.json", "predictions.json"]
    facts: Mapping[str, Any]
    """What made the results; the first keys of the JSON file."""

    @classmethod
    def choose(
        cls,
        trained: Trained,
        request: EvalRequest | PredictRequest,
        accelerator: Accelerator,
        say: Callable[[str], None],
    ) -> ResultFolder:
        """Choose the folder before anything is computed; the same in all processes.

        That is `save_dir`; else beside the weights, `RUN/eval` or `RUN/predict/INPUT`, where INPUT
        is the name of the one input, or the time; for weights outside a run, runs of the hub, and
        runs that cannot be written to, `runs/NAME/eval` and the like.

        Raises:
            RunError: The folder cannot be written to.
        """
        chosen: list[Any] = [None]
        if accelerator.is_main_process:
            try:
                chosen = [request.save_dir or _default(trained.path, request, say)]
                _check_writable(chosen[0])
            except RunError as error:
                chosen = [error]
        if accelerator.num_processes > 1:
            broadcast_object_list(chosen)
        if isinstance(chosen[0], RunError):
            raise chosen[0]
        facts: dict[str, Any] = {
            "model": trained.config.name,
            "weights": reference_of(trained.path) or str(trained.path),
            "weights_sha256": sha256_of(trained.path),
            "videozoo": __version__,
        }
        if isinstance(request, PredictRequest):
            facts["inputs"] = list(_asked(request))
            if request.sentences:
                facts["sentences"] = list(request.sentences)
            return cls(chosen[0], "predictions.json", facts)
        facts["data"] = _data_asked_for(trained, request)
        return cls(chosen[0], "eval.json", facts)

    def make_room(self, say: Callable[[str], None], *files: Path) -> None:
        """Move results of other weights or other videos out of the way.

        Args:
            say: Told what was moved, and where.
            files: Other files that will be written. An old one may be of another model, in a folder
                that models shared in the 2019 library.

        Raises:
            RunError: The disk refuses.
        """
        there = _read(self.path / self.name)
        if there is not None and any(there.get(key) != self.facts.get(key) for key in _SAME):
            self._keep(there, say)
        for file in files:
            if file.is_file():
                self._hand_back(file, say)

    def _hand_back(self, file: Path, say: Callable[[str], None]) -> None:
        """Move a file that another model wrote here to where its other results are."""
        for record in sorted(file.parent.glob(f"*/{self.name}")):
            owner, facts = record.parent, _read(record) or {}
            listed = facts.get("files")
            name = os.path.relpath(file, owner)
            if owner == self.path or not isinstance(listed, list) or name not in listed:
                continue
            kept = owner / file.name
            try:
                file.rename(kept)
            except OSError as error:
                raise RunError(f"{kept}: cannot be written: {error.strerror}") from None
            facts["files"] = [file.name if each == name else each for each in listed]
            write_json(record, facts)
            say(f"note: {file} was of {facts.get('weights')}; it is now {kept}")
            return

    def _keep(self, there: Mapping[str, Any], say: Callable[[str], None]) -> None:
        """Move earlier results of this folder to `old-N`."""
        number = 1
        while (kept := self.path / f"old-{number}").exists():
            number += 1
        listed = there.get("files")
        others = [Path(str(each)) for each in listed] if isinstance(listed, list) else []
        try:
            kept.mkdir()
            for other in (Path(self.name), *others):
                path = self.path / other
                if other.parent in (Path(), Path("..")) and path.is_file():
                    path.rename(kept / path.name)
        except OSError as error:
            raise RunError(f"{kept}: cannot be written: {error.strerror}") from None
        say(f"note: {self.path} held results of {there.get('weights')}; they are now in {kept}")

    def write(self, facts: Mapping[str, Any], files: Sequence[Path] = ()) -> Path:
        """Write the JSON file.

        Args:
            facts: The results, to be written after `self.facts`.
            files: Other files of this result; moved together with the JSON file.

        Raises:
            RunError: The disk refuses.
        """
        listed = [os.path.relpath(path, self.path) for path in files]
        return write_json(self.path / self.name, {**self.facts, **facts, "files": listed})


def run_folder_of(weights: Path) -> Path | None:
    """The run folder that holds these weights; None for weights elsewhere."""
    folder = weights.parent.parent if weights.parent.name == "weights" else weights.parent
    return folder if (folder / "config.yaml").is_file() else None


def conclude(
    accelerator: Accelerator,
    request: VideosRequest,
    failed: Sequence[str],
    say: Callable[[str], None],
    *,
    total: int,
    num_failed: int | None = None,
    what: str = "videos",
) -> None:
    """End the work with the other processes, then report what could not be used.

    Args:
        accelerator: The processes.
        request: Says whether inputs that cannot be used are a failure.
        failed: A line per input that could not be used.
        say: Prints the report if it is no failure.
        total: Number of all inputs.
        num_failed: How many could not be used, if that is not the number of lines.
        what: What the inputs are, e.g. "videos".

    Raises:
        IncompleteError: Some could not be used. Only the main process raises it.
    """
    finish(accelerator)
    if not failed or not accelerator.is_main_process:
        return
    count = len(failed) if num_failed is None else num_failed
    text = _incomplete(failed, f"{count} of {total} {what} could not be used", count < total)
    if not request.skip_bad:
        raise IncompleteError(text)
    say(f"note: {text}")


def warn_of(failed: Sequence[str], *, stacklevel: int = 3) -> None:
    """Warn about inputs that could not be used; for Python programs, where nothing is printed."""
    if failed:
        text = _incomplete(failed, f"{len(failed)} could not be used", True)
        warnings.warn(text, stacklevel=stacklevel)


def say_damaged(say: Callable[[str], None], damaged: Sequence[str]) -> None:
    """Name damaged videos: their results may be wrong, because some frames are missing."""
    for problem in damaged[:_MOST_NAMED]:
        say(f"damaged: {problem}; read as far as it decodes")
    if len(damaged) > _MOST_NAMED:
        say(f"damaged: and {len(damaged) - _MOST_NAMED} more videos")


def say_of_videos(say: Callable[[str], None], done: Extraction, total: int, rate: float) -> None:
    """Name damaged videos and those of one frame; tell how many have fewer frames than vectors.

    Args:
        say: Prints.
        done: What was made of the videos.
        total: How many there are.
        rate: Vectors per second.
    """
    say_damaged(say, done.damaged)
    if done.still:
        say(
            f"note: {few(done.still)}: one frame; times, and all that needs motion, mean nothing "
            "there"
        )
    if done.slow:
        say(
            f"note: --rate {rate:g} is above the frame rate of {len(done.slow):,} of "
            f"{counted(total, 'video')}, such as {done.slow[0]}: neighbouring vectors are of the "
            "same frames, and a lower rate loses nothing"
        )


def _incomplete(failed: Sequence[str], head: str, rest: bool) -> str:
    shown = few(failed, _MOST_NAMED, between="\n  ")
    return f"{head}{'; the others are done' if rest else ''}:\n  {shown}"


def _default(
    weights: Path, request: EvalRequest | PredictRequest, say: Callable[[str], None]
) -> Path:
    fetched = local_name(weights)
    run = None if fetched else run_folder_of(weights)
    outside = Path("runs", fetched or (weights.stem if weights.is_file() else weights.name))
    own = outside if run is None else run
    if run is not None and not _is_writable(run):
        say(f"note: {run} cannot be written to; results go to {outside}")
        own = outside
    if isinstance(request, EvalRequest):
        place = own / "eval"
        return place / weights.stem if weights.parent.name == "weights" else place
    return own / "predict" / _input_name(_asked(request))


def _asked(request: PredictRequest) -> tuple[str, ...]:
    return request.inputs if request.asked is None else request.asked


def _data_asked_for(trained: Trained, request: EvalRequest) -> list[str]:
    """The data that the command line names in place of the configuration's."""
    origins, data = trained.config.origins, trained.config.as_dict()["data"]
    keys = [key for key, origin in origins.items() if origin.startswith("--")]
    found = [
        f"{key}={data[key[5:]]}" for key in keys if key.startswith("data.") and key[5:] in data
    ]
    return found if request.data is None else [*found, f"--data {request.data}"]


def _input_name(inputs: Sequence[str]) -> str:
    if len(inputs) == 1 and not any(character in inputs[0] for character in "*?["):
        path = Path(inputs[0]).absolute()
        name = path.stem if path.is_file() else path.name
        if name not in ("", ".."):
            return name
    return time.strftime("%Y-%m-%d_%H-%M-%S")


def _is_writable(folder: Path) -> bool:
    there = next((each for each in (folder, *folder.parents) if each.exists()), Path())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def _check_writable(folder: Path) -> None:
    if not _is_writable(folder.absolute()):
        raise RunError(f"{folder}: cannot be written to; name another folder")


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: Any = parse_json(path.read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None

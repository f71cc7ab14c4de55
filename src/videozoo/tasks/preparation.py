"""Convert the files of a data set: `videozoo prepare`."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from videozoo.data.features.conversion import SUFFIXES, Conversion, Converted, TargetKind, convert
from videozoo.data.features.packs import MANIFEST
from videozoo.data.features.record_formats import expand_records, find_records
from videozoo.data.loader import num_cores
from videozoo.data.record_survey import SEGMENT_LABELS
from videozoo.errors import DataError, counted, few
from videozoo.tasks.next_steps import train_tagger


@dataclass(frozen=True, kw_only=True)
class PrepareRequest:
    """`videozoo prepare youtube8m`."""

    inputs: Sequence[Path]
    """Shards, pickles, packs, folders, globs or lists of them."""
    output: Path
    """Folder for the new files, one per input file."""
    kind: TargetKind = "pack"
    num_classes: int | None = None
    workers: int | None = None
    """Processes; None: one per core."""
    overwrite: bool = False
    skip_bad: bool = False


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """The result of a conversion."""

    files: int
    """Files written by this call."""
    videos: int
    """Videos in these files."""
    already_there: int
    """Files that an earlier call wrote; they are kept."""
    skipped: tuple[str, ...]
    """Records that could not be used."""
    segment_rated: int = 0
    """Records written by this call whose segment labels were left out."""


def prepare(request: PrepareRequest, *, console: Console | None = None) -> Prepared:
    """Convert feature files, several at a time; files that exist already are kept.

    A file that cannot be converted does not stop the others; the error at the end names all.

    Raises:
        DataError: An input is missing, two inputs would be written to the same file, or a file
            could not be converted.
    """
    out = console or Console(stderr=True)
    sources = [path for one in request.inputs for path in expand_records(one)]
    todo = [
        Conversion(
            source=source,
            target=target,
            kind=request.kind,
            num_classes=request.num_classes,
            skip_bad=request.skip_bad,
        )
        for source, target in _targets(sources, request)
        if request.overwrite or not target.exists()
    ]
    already = len(sources) - len(todo)
    done: list[Converted] = []
    failed: dict[int, str] = {}
    workers = max(1, min(request.workers or num_cores(), len(todo)))
    with _bar(len(todo), out) as advance, _pool(workers) as submit:
        jobs = {submit(one): number for number, one in enumerate(todo)}
        for job in as_completed(jobs):
            try:
                done.append(job.result())
            except DataError as error:
                failed[jobs[job]] = str(error)
            advance()
    result = Prepared(
        files=len(done),
        videos=sum(one.videos for one in done),
        already_there=already,
        skipped=tuple(why for one in done for why in one.skipped),
        segment_rated=sum(one.segment_rated for one in done),
    )
    _say(result, request, out)
    if failed:
        raise DataError(
            f"{len(failed):,} of {counted(len(todo), 'file')} could not be converted (the others "
            "were):\n  " + few((why for _, why in sorted(failed.items())), between="\n  ")
        )
    return result


def _targets(sources: Sequence[Path], request: PrepareRequest) -> Iterator[tuple[Path, Path]]:
    """The output file of each input."""
    taken: dict[Path, Path] = {}
    for source in sources:
        stem = source.name if source.is_dir() else source.stem
        target = request.output / f"{stem}{SUFFIXES[request.kind]}"
        if target.resolve() == source.resolve():
            raise DataError(f"{source}: would be written over itself; name another --output")
        if target in taken:
            raise DataError(
                f"{taken[target]} and {source} would both become {target}; prepare them into "
                "different folders"
            )
        if target.is_dir() and request.kind == "pack" and not (target / MANIFEST).is_file():
            raise DataError(f"{target}: a folder that is not a pack; name another --output")
        taken[target] = source
        yield source, target


@contextmanager
def _pool(workers: int) -> Generator[Callable[[Conversion], Future[Converted]]]:
    """Yield a function that starts conversions: in worker processes, or here if one is enough."""
    if workers == 1:
        yield _at_once
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield partial(pool.submit, convert)
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _at_once(conversion: Conversion) -> Future[Converted]:
    job: Future[Converted] = Future()
    try:
        job.set_result(convert(conversion))
    except DataError as error:
        job.set_exception(error)
    return job


@contextmanager
def _bar(total: int, out: Console) -> Generator[Callable[[], None]]:
    columns = (TextColumn("files"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out, disable=not out.is_terminal, transient=True) as progress:
        bar = progress.add_task("files", total=total)
        yield lambda: progress.update(bar, advance=1)


def _say(result: Prepared, request: PrepareRequest, out: Console) -> None:
    before = f" ({result.already_there} were there already)" if result.already_there else ""
    lines = [f"{counted(result.videos, 'video')} in {result.files} files{before}: {request.output}"]
    if result.skipped:
        lines.append(f"{counted(len(result.skipped), 'record')} could not be used, such as:")
        lines.append(f"  {result.skipped[0]}")
    if result.segment_rated:
        lines.append(
            f"note: {counted(result.segment_rated, 'video')}: {SEGMENT_LABELS}, which are not "
            "written; shards hold them (--format tfrecord)"
        )
    if result.videos:
        first = find_records(request.output).read(0)
        streams = {name: frames.shape[-1] for name, frames in first.streams.items()}
        lines.append(f"next: {train_tagger(request.output, streams, request.num_classes)}")
    for line in lines:
        out.print(line, markup=False, highlight=False, soft_wrap=True)

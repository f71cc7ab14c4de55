"""Check videos: open each one, compare them, and look at their labels.

The result of `--json FILE` is one object:

* `videozoo`, `kind` ("check-data"), `format` (1), `asked`: what was checked, and how.
* `counts`: files by status (see `videozoo.data.frames.check.Status`), `damaged`, `bad`,
  `from_cache`.
* `parts`: for each list or part of a folder its `name`, `source`, number of `videos`, `problems`
  (lines that cannot be used, labels out of range), and `classes` (`label`, `name`, and how many
  `videos` of it are readable).
* `files`: one object per file: `path`, `status`, `reason`, `damage`, `num_bytes`, `num_frames`,
  `seconds`, `height`, `width` (as shown), `frames_per_second`, `codec`, `container`, `rotation`,
  `label` (of a pickle of the 2019 library), `from_cache`.
* `copies`: files with the same content: `sha256`, and of each its `part`, `path`, `label`.
  `across_parts` is true where they stand in more than one part.
* `repeats`: the same path more than once in a list: `part`, `path`, `lines`, `labels`.
* `notes`: remarks for the user, one line each.
"""

from __future__ import annotations

import os
import time

from rich.console import Console

from videozoo.data.files import absolute
from videozoo.data.frames.check import FactCache, check_files, content_hashes
from videozoo.errors import DataError, counted
from videozoo.tasks.check_data.output import (
    json_lines,
    progress,
    say,
    show,
    verdict,
    write_good,
    write_lines,
)
from videozoo.tasks.check_data.parts import CheckRequest, find_parts
from videozoo.tasks.check_data.result import (
    CheckResult,
    check_labels,
    check_spans,
    compare,
    find_notes,
)
from videozoo.weights.cache import cache_folder


def run_videos(request: CheckRequest, out: Console) -> None:
    """Check the videos, print a summary, write the requested files.

    Raises:
        DataError: Something cannot be used; the message counts it and says what to do.
        VideozooError: There is nothing to check, or a result cannot be written.
    """
    result = check(request)
    show(result, request, out)
    if request.json_path is not None:
        write_lines(request.json_path, json_lines(result, request))
        say(out, f"everything, file by file: {request.json_path}")
    if request.write_good is not None:
        num_written, remarks = write_good(request.write_good, result)
        say(out, f"{request.write_good}: {counted(num_written, 'video')} that can be used")
        for remark in remarks:
            say(out, f"  {remark}")
    num_bad, problems = len(result.bad), result.problems
    if num_bad or problems:
        raise DataError(verdict(result, request, num_bad, problems))


def check(request: CheckRequest) -> CheckResult:
    """Open every video of the request, and compare the files.

    Raises:
        VideozooError: There is nothing to check.
    """
    parts, frames_needed = find_parts(request)
    started = time.monotonic()
    files = {absolute(item.file.path): item.file for part in parts for item in part.items}
    if not files and not any(part.problems for part in parts):
        raise DataError(f"{parts[0].source if parts else request.path}: nothing to check in it")
    workers = max(1, request.workers or _cores())
    cache = FactCache(cache_folder() / "check-data" if request.use_cache else None)
    try:
        with progress(len(files), "files") as advance:
            found = check_files(
                files.values(),
                deep=request.deep,
                workers=workers,
                base_seconds=request.base_seconds,
                cache=cache,
                on_done=advance,
            )
        result = CheckResult(parts=parts, reports=dict(zip(files, found, strict=True)))
        readable = [report.path for report in found if report.is_readable]
        hashes = content_hashes(readable, workers=workers, cache=cache)
    finally:
        cache.close()
    compare(result, hashes)
    for part in parts:
        check_labels(part, result)
        check_spans(part, result)
    result.notes += [remark for part in parts for remark in part.remarks]
    result.notes += find_notes(result, frames_needed)
    if cache.trouble:
        result.notes.append(f"nothing is remembered for the next time: {cache.trouble}")
    result.seconds = time.monotonic() - started
    return result


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

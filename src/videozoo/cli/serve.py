"""videozoo serve: a web page and an HTTP API."""

from __future__ import annotations

import argparse
import math
from dataclasses import fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from videozoo.cli.parser import command
from videozoo.errors import UsageError

_PACKAGES = ("fastapi", "prometheus_client", "python_multipart", "uvicorn")
_LIMITS = {
    "upload_mb": ("MB", "the largest upload"),
    "video_seconds": ("SECONDS", "the longest video"),
    "video_megapixels": ("N", "the largest frames, in million pixels"),
    "job_seconds": ("SECONDS", "time for one video"),
    "memory_mb": ("MB", "memory for one video, beyond the models"),
    "waiting_jobs": ("N", "videos that may wait"),
    "keep_hours": ("HOURS", "how long answers are kept"),
}


def add(commands: Any) -> None:
    """Describe the command and its flags."""
    from videozoo.serve.limits import Limits

    serve = command(commands, "serve", run_serve)
    serve.add_argument(
        "--weights",
        action="append",
        required=True,
        metavar="RUN",
        help="trained weights; once per model that is asked",
    )
    serve.add_argument(
        "--labels",
        metavar="RUN",
        help="a trained clip model that names the segments of BMN and BSN",
    )
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    serve.add_argument("--port", type=int, default=8000, help="port to listen on (8000)")
    serve.add_argument(
        "--library",
        type=Path,
        metavar="DIR",
        help="a folder of videos that users may choose from",
    )
    serve.add_argument(
        "--jobs",
        type=Path,
        metavar="DIR",
        help="where uploads and answers are kept (serve/ in the cache)",
    )
    serve.add_argument(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="a file with the token that requests must carry (or the variable VIDEOZOO_TOKEN); "
        "without it one is made, if --host is not this computer",
    )
    serve.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    serve.add_argument(
        "--workers", type=int, default=1, metavar="N", help="videos looked at together (1)"
    )
    for name, (unit, what) in _LIMITS.items():
        default = getattr(Limits, name)
        serve.add_argument(
            f"--{name.replace('_', '-')}",
            type=type(default),
            default=default,
            metavar=unit,
            help=f"{what} ({default:g})",
        )


def run_serve(parsed: argparse.Namespace) -> None:
    """Serve a web page and an HTTP API: a video in, answers out."""
    missing = [name for name in _PACKAGES if find_spec(name) is None]
    if missing:
        raise UsageError(f"serve needs {' and '.join(missing)}: pip install 'videozoo[serve]'")
    from videozoo.serve.limits import Limits
    from videozoo.serve.start import ServeRequest, serve
    from videozoo.weights.cache import cache_folder

    names = {each.name for each in fields(Limits)}
    given = {name: getattr(parsed, name) for name in _LIMITS if name in names}
    for name, value in given.items():
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"--{name.replace('_', '-')} {value:g}: expected more than 0")
    if parsed.workers < 1:
        raise UsageError(f"--workers {parsed.workers}: expected 1 or more")
    request = ServeRequest(
        weights=tuple(parsed.weights),
        labels=parsed.labels,
        folder=parsed.jobs or cache_folder() / "serve",
        limits=Limits(**given),
        host=parsed.host,
        port=parsed.port,
        device=parsed.device,
        workers=parsed.workers,
        library=parsed.library,
        token_file=parsed.token_file,
    )
    serve(request, lambda line: print(line, flush=True))

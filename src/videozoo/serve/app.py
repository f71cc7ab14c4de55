"""The routes of the server."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import time
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.exceptions import HTTPException as AnyHTTPException

from videozoo import __version__
from videozoo.data.files import is_video_name, walk
from videozoo.safe_names import shown
from videozoo.serve import pages
from videozoo.serve.guard import policy
from videozoo.serve.limits import Limits
from videozoo.serve.metrics import Metrics
from videozoo.serve.store import Job, JobStore
from videozoo.serve.supervisor import Supervisor
from videozoo.serve.uploads import UploadError, receive
from videozoo.settings.mistakes import mistakes_of

_MOST_IN_LIBRARY = 5000
_KEEP_ALIVE_SECONDS = 15.0
_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "vtt": "text/vtt; charset=utf-8",
    "srt": "application/x-subrip; charset=utf-8",
    "mp4": "video/mp4",
}
_MEDIA = {
    ".mp4": "video/mp4", ".m4v": "video/mp4", ".mov": "video/quicktime", ".webm": "video/webm",
    ".mkv": "video/x-matroska", ".avi": "video/x-msvideo",
}  # fmt: skip
# The module of the page knows it, too, but imports what decodes videos.
_SCRIPT = resources.files("videozoo.report").joinpath("answer_page.js").read_text("utf-8")
_DIGEST = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()

Sentence = Annotated[str, Field(min_length=1, max_length=1000)]


class Options(BaseModel):
    """What is asked about a video."""

    model_config = ConfigDict(extra="forbid")

    sentences: list[Sentence] = Field([], description="Moments to search for, in words.")
    every_seconds: float | None = Field(
        None, ge=0.1, le=3600, description="Clip models answer every so many seconds."
    )
    annotate: bool = Field(False, description="Also make a film with the answers drawn on it.")


class FromLibrary(Options):
    """A video that the server has."""

    library: str = Field(description="Its name, as `GET /v1/library` lists it.", max_length=4096)


class Search(BaseModel):
    """A sentence to search for."""

    model_config = ConfigDict(extra="forbid")

    sentence: Sentence


class JobView(BaseModel):
    """A job as clients see it."""

    id: str
    video: str = Field(description="Its name, as the client gave it.")
    state: Literal["queued", "running", "done", "failed"]
    progress: dict[str, Any] = Field(description="`done` and `of`, in steps; `what` is being done.")
    error: str | None = Field(description="Why it failed.")
    sentences: list[str]
    created: float = Field(description="Seconds since 1970.")
    ended: float | None
    has_answers: bool = Field(description="Whether `/result` has something to say.")

    @classmethod
    def of(cls, job: Job) -> JobView:
        """What clients may know: no path."""
        return cls(
            id=job.id,
            video=job.name,
            state=job.state,
            progress=dict(job.progress),
            error=job.error,
            sentences=list(job.sentences),
            created=job.created,
            ended=job.ended,
            has_answers=job.has_answers,
        )


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"description": "The upload or its options are damaged."},
    404: {"description": "There is no such video in the library."},
    408: {"description": "The upload paused for too long."},
    413: {"description": "The upload is too large."},
    415: {"description": "The upload is no video."},
    429: {"description": "Too many jobs wait; come again after `Retry-After` seconds."},
    507: {"description": "The disk of the server is full."},
}
_NO_JOB: dict[int | str, dict[str, Any]] = {
    404: {"description": "There is no such job (any more)."}
}


def make_app(
    store: JobStore,
    supervisor: Supervisor,
    limits: Limits,
    metrics: Metrics,
    *,
    library: Path | None = None,
) -> FastAPI:
    """All routes of a server; wrap it in a `Guard`."""

    app = FastAPI(
        title="videozoo",
        version=__version__,
        docs_url=None,  # these two load scripts from elsewhere
        redoc_url=None,
        description="Videos in, answers out.",
    )
    videos = _Library(library)
    _Routes(app, store, supervisor, limits, metrics, videos).add()
    return app


class _Library:
    """The videos of `--library DIR`; only names from this list are ever opened."""

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def names(self) -> dict[str, Path]:
        """Name below the folder -> file, in order."""
        if self.folder is None:
            return {}
        found: dict[str, Path] = {}
        root = self.folder.resolve()
        for path in walk(self.folder):
            is_inside = path.resolve().is_relative_to(root)  # links may lead anywhere
            if is_inside and is_video_name(path):
                found[path.relative_to(self.folder).as_posix()] = path
            if len(found) == _MOST_IN_LIBRARY:
                break
        return found


class _Routes:
    """The routes, and what they share."""

    def __init__(
        self,
        app: FastAPI,
        store: JobStore,
        supervisor: Supervisor,
        limits: Limits,
        metrics: Metrics,
        library: _Library,
    ) -> None:
        self._app, self._store, self._supervisor = app, store, supervisor
        self._limits, self._metrics, self._library = limits, metrics, library
        self._arriving = 0
        self._listening = 0

    def add(self) -> None:
        """Add all routes to the application."""
        add = self._app.add_api_route
        page: dict[str, Any] = {"include_in_schema": False, "response_class": HTMLResponse}
        add("/", self.start, **page)
        add("/login", self.login, **page)
        add("/docs", self.docs, **page)
        add("/jobs/{job}/", self.answers, **page)
        files: dict[str, Any] = {"include_in_schema": False, "methods": ["GET", "HEAD"]}
        add("/jobs/{job}/video", self.video, **files)
        add("/jobs/{job}/answers.{kind}", self.file, **files)
        add("/jobs/{job}/annotated.mp4", self.film, **files)
        add("/static/{name}", self.static, include_in_schema=False)
        add("/favicon.ico", self.icon, include_in_schema=False)
        add("/healthz", self.health, response_class=JSONResponse, responses={
            503: {"description": "A worker ended, and the models cannot be loaded again."}
        })  # fmt: skip
        add("/metrics", self.figures, response_class=Response)
        add("/v1/models", self.models)
        add("/v1/library", self.library)
        add("/v1/jobs", self.jobs, response_model=list[JobView])
        add(
            "/v1/jobs",
            self.ask,
            methods=["POST"],
            status_code=202,
            response_model=JobView,
            responses=_PROBLEMS,
            openapi_extra={"requestBody": _BODY, "parameters": _IN_ADDRESS},
        )
        add("/v1/jobs/{job}", self.job, response_model=JobView, responses=_NO_JOB)
        add("/v1/jobs/{job}", self.remove, methods=["DELETE"], status_code=204, responses=_NO_JOB)
        add("/v1/jobs/{job}/result", self.result, responses={
            **_NO_JOB, 409: {"description": "Not there yet, or failed; `GET /v1/jobs/ID` says."}
        })  # fmt: skip
        add("/v1/jobs/{job}/events", self.events, responses=_NO_JOB)
        add(
            "/v1/jobs/{job}/search",
            self.search,
            methods=["POST"],
            status_code=202,
            response_model=JobView,
            responses={
                **_NO_JOB,
                409: {"description": "The job is not over, or no model takes sentences."},
            },
        )
        self._app.add_exception_handler(AnyHTTPException, _on_problem)
        self._app.add_exception_handler(RequestValidationError, _on_invalid)

    # --- pages -----------------------------------------------------------------------------------

    async def start(self) -> HTMLResponse:
        models, has_library = self._supervisor.models, self._library.folder is not None
        return HTMLResponse(pages.start_page(models, self._limits, has_library=has_library))

    async def login(self) -> HTMLResponse:
        return HTMLResponse(pages.login_page())

    async def docs(self) -> HTMLResponse:
        return HTMLResponse(pages.api_page(self._app.openapi()))

    async def answers(self, job: str) -> Response:
        found = self._found(job)
        if not found.has_answers:
            return HTMLResponse(pages.waiting_page(found.id, found.name))
        headers = {"content-security-policy": policy(_DIGEST)}
        return self._of_folder(found, "page.html", "text/html; charset=utf-8", headers=headers)

    async def static(self, name: str) -> Response:
        kinds = {"serve.css": "text/css", "serve.js": "text/javascript"}
        if name not in kinds:
            raise HTTPException(404, "no such page")
        return Response(pages.static(name), media_type=f"{kinds[name]}; charset=utf-8")

    async def icon(self) -> Response:
        return Response(status_code=204)

    async def video(self, job: str) -> FileResponse:
        found = self._found(job)
        path = Path(found.video)
        if not path.is_file():
            raise HTTPException(404, "the video is gone")
        return FileResponse(path, media_type=_MEDIA.get(path.suffix.lower(), "video/mp4"))

    async def file(self, job: str, kind: str) -> FileResponse:
        if kind not in ("json", "csv", "vtt", "srt"):
            raise HTTPException(404, "no such file; there are json, csv, vtt and srt")
        return self._download(self._found(job), f"answers.{kind}")

    async def film(self, job: str) -> FileResponse:
        return self._download(self._found(job), "annotated.mp4")

    def _download(self, job: Job, name: str) -> FileResponse:
        stem, _, suffix = job.name.rpartition(".")
        kind = name.rpartition(".")[2]
        shown_name = f"{stem or suffix}{'_annotated' if kind == 'mp4' else ''}.{kind}"
        return self._of_folder(job, name, _TYPES[kind], filename=shown_name)

    def _of_folder(self, job: Job, name: str, kind: str, **more: Any) -> FileResponse:
        path = self._store.folder_of(job.id) / name
        if not path.is_file():
            why = {
                "annotated.mp4": "no annotated video was asked for",
                "answers.vtt": "nothing with words and seconds was said, so there are no subtitles",
                "answers.srt": "nothing with words and seconds was said, so there are no subtitles",
            }.get(name, "no answers yet")
            raise HTTPException(404, why)
        return FileResponse(path, media_type=kind, **more)

    # --- API -------------------------------------------------------------------------------------

    async def health(self) -> Response:
        """Whether the server works: it answers when its models are loaded."""
        is_well = self._supervisor.problem is None  # which is for the log: it may name paths
        told = {
            "status": "ok" if is_well else "the models cannot be loaded again",
            "version": __version__,
            "models": len(self._supervisor.models),
        }
        return JSONResponse(told, 200 if is_well else 503)

    async def figures(self) -> Response:
        """Figures in Prometheus' form."""
        text = self._metrics.text(self._store.count)
        return Response(text, media_type="text/plain; version=0.0.4; charset=utf-8")

    async def models(self) -> list[dict[str, Any]]:
        """What is asked about each video."""
        return self._supervisor.models

    async def library(self) -> list[str]:
        """Names of the videos that the server has; empty without `--library`."""
        return list(await asyncio.to_thread(self._library.names))

    async def jobs(self) -> list[JobView]:
        """The last 100 jobs, the newest first."""
        return [JobView.of(job) for job in self._store.newest()]

    async def job(self, job: str) -> JobView:
        """How far a job is."""
        return JobView.of(self._found(job))

    async def ask(self, request: Request) -> JobView:
        """Ask about a video.

        The body is the video itself (then its name and the options are in the address:
        `?name=a.mp4&sentence=...&every_seconds=2&annotate=true`), a form with the field `file`, or
        JSON that names a video of the library.
        """
        try:
            job = await self._ask(request)
        except UploadError as error:
            self._metrics.refused(error.status)
            # a client that still sends would otherwise wait for us to read on
            headers = {"connection": "close"}
            if error.status == 429:
                headers["retry-after"] = "10"
            raise HTTPException(error.status, error.why, headers) from None
        return JobView.of(self._supervisor.queue(job))

    async def _ask(self, request: Request) -> Job:
        waiting = self._store.count()["queued"] + self._arriving
        if waiting >= self._limits.waiting_jobs:
            raise UploadError(429, f"{waiting} videos wait already; try again later")
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind.strip().lower() == "application/json":
            return await self._from_library(request)
        if self._arriving >= self._limits.uploads:
            raise UploadError(429, f"{self._arriving} uploads arrive already; try again later")
        options = self._options(_of_query(request))
        self._arriving += 1
        name, folder = self._store.new_folder()
        is_taken = False
        try:
            shown_name, path, fields = await receive(request, folder, self._limits)
            if fields:
                options = self._options(_of_form(fields))
            self._metrics.uploaded(path.stat().st_size)
            is_taken = True
            return _job(name, shown_name, path, options)
        finally:
            self._arriving -= 1
            if not is_taken:
                self._store.remove(name)

    async def _from_library(self, request: Request) -> Job:
        body = b""
        async for chunk in request.stream():
            body += chunk
            if len(body) > 100_000:
                raise UploadError(413, "too long for a request in JSON")
        try:
            asked = FromLibrary.model_validate_json(body)
        except ValidationError as error:
            raise UploadError(400, _said(FromLibrary, error)) from None
        path = (await asyncio.to_thread(self._library.names)).get(asked.library)
        if path is None:
            raise UploadError(404, f"{shown(asked.library)[:200]}: no such video in the library")
        options = self._options(asked.model_dump(exclude={"library"}))
        name, _ = self._store.new_folder()
        return _job(name, asked.library, path, options)

    def _options(self, values: dict[str, Any]) -> Options:
        try:
            options = Options.model_validate(values)
        except ValidationError as error:
            raise UploadError(400, _said(Options, error)) from None
        too_long = any(len(each) > self._limits.sentence_length for each in options.sentences)
        if too_long or len(options.sentences) > self._limits.sentences:
            raise UploadError(
                400,
                f"sentences: up to {self._limits.sentences}, of {self._limits.sentence_length} "
                "characters each",
            )
        can_search = any(each["takes_sentences"] for each in self._supervisor.models)
        if options.sentences and not can_search:
            raise UploadError(400, "sentences: none of the models here finds moments")
        can_step = any(each["takes_every_seconds"] for each in self._supervisor.models)
        if options.every_seconds is not None and not can_step:
            raise UploadError(400, "every_seconds: none of the models here looks at clips")
        return options

    async def remove(self, job: str) -> Response:
        """Stop a job and remove all that belongs to it."""
        found = self._found(job)
        await asyncio.to_thread(self._supervisor.remove, found.id)
        return Response(status_code=204)

    async def result(self, job: str) -> Response:
        """What each model says: labels, segments, captions, moments, in seconds."""
        found = self._found(job)
        if not found.has_answers:
            raise HTTPException(409, f"{found.state}: {found.error or 'not there yet'}")
        return self._of_folder(found, "answers.json", _TYPES["json"])

    async def search(self, job: str, search: Search) -> JobView:
        """Search a video, whose job is over, for one more sentence."""
        found = self._found(job)
        if not any(each["takes_sentences"] for each in self._supervisor.models):
            raise HTTPException(409, "none of the models here finds moments")
        sentence = " ".join(search.sentence.split())
        most = self._limits.sentence_length
        if not sentence or len(sentence) > most:
            raise HTTPException(400, f"expected a sentence of 1 to {most} characters")
        if len(found.sentences) >= self._limits.sentences:
            raise HTTPException(
                400, f"{self._limits.sentences} sentences were searched for already"
            )
        if not self._store.search(found.id, sentence):
            raise HTTPException(409, "the job is not over yet, or has no answers")
        self._supervisor.changes.tell("", found.id)
        return JobView.of(self._found(job))

    async def events(self, job: str, request: Request) -> StreamingResponse:
        """Progress as server-sent events, each a job as `GET /v1/jobs/ID` gives it; ends when the
        job is over."""
        self._found(job)
        if self._listening >= self._limits.listeners:
            raise HTTPException(429, "too many listeners; ask for the job itself", {
                "retry-after": "10"
            })  # fmt: skip
        headers = {"x-accel-buffering": "no"}
        return StreamingResponse(self._events(job), media_type="text/event-stream", headers=headers)

    async def _events(self, job: str) -> AsyncIterator[str]:
        self._listening += 1
        try:
            async with self._supervisor.changes.heard(job) as change:
                while True:
                    change.clear()
                    found = self._store.get(job)
                    if found is None:
                        yield "event: gone\ndata: {}\n\n"
                        return
                    yield f"data: {JobView.of(found).model_dump_json()}\n\n"
                    if found.is_over:
                        return
                    try:
                        await asyncio.wait_for(change.wait(), _KEEP_ALIVE_SECONDS)
                    except TimeoutError:
                        yield ": still here\n\n"
        finally:
            self._listening -= 1

    def _found(self, job: str) -> Job:
        found = self._store.get(job)
        if found is None:
            raise HTTPException(404, "no such video; it may have been removed")
        return found


_IN_ADDRESS: list[dict[str, Any]] = [
    {
        "name": name,
        "in": "query",
        "required": False,
        "description": what,
        "schema": schema,
    }
    for name, what, schema in (
        ("name", "Of the video, for people; for a body that is the video.", {"type": "string"}),
        (
            "sentence",
            "A moment to search for, in words; may be there several times.",
            {"type": "array", "items": {"type": "string"}},
        ),
        ("every_seconds", "Clip models answer every so many seconds.", {"type": "number"}),
        ("annotate", "Also make a film with the answers drawn on it.", {"type": "boolean"}),
    )
]
_BODY = {
    "required": True,
    "content": {
        "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {
                    "file": {"type": "string", "format": "binary"},
                    **{
                        each["name"]: {**each["schema"], "description": each["description"]}
                        for each in _IN_ADDRESS[1:]
                    },
                },
            }
        },
        "application/json": {"schema": FromLibrary.model_json_schema()},
    },
}


def _job(name: str, shown_name: str, path: Path, options: Options) -> Job:
    sentences = dict.fromkeys(" ".join(each.split()) for each in options.sentences)
    return Job(
        id=name,
        name=shown_name,
        video=str(path.absolute()),
        state="queued",
        created=time.time(),
        sentences=tuple(filter(None, sentences)),
        every_seconds=options.every_seconds,
        annotate=options.annotate,
    )


def _of_query(request: Request) -> dict[str, Any]:
    given = request.query_params
    known = {"name", "sentence", "every_seconds", "annotate"}
    unknown = sorted(set(given) - known)
    if unknown:
        raise UploadError(400, f"{shown(unknown[0])[:100]}: unknown; there are {sorted(known)}")
    twice = next((key for key in known - {"sentence"} if len(given.getlist(key)) > 1), None)
    if twice is not None:
        raise UploadError(400, f"{twice}: given {len(given.getlist(twice))} times, expected once")
    found: dict[str, Any] = {
        key: given[key] for key in ("every_seconds", "annotate") if key in given
    }
    return {**found, "sentences": given.getlist("sentence")}


def _of_form(fields: dict[str, str]) -> dict[str, Any]:
    values: dict[str, Any] = dict(fields)
    values["sentences"] = values.pop("sentence", "").splitlines()
    return {key: value for key, value in values.items() if value != ""}


def _said(body: type[BaseModel], error: ValidationError) -> str:
    first = error.errors(include_url=False, include_context=False)[0]
    if first["type"] == "json_invalid":
        return f"the body is no JSON: {first['msg'].partition(': ')[2]}"
    if not first["loc"]:
        return f"expected a JSON object with {', '.join(body.model_fields)}"
    mistake = mistakes_of(body, error)[0]
    return f"{shown(mistake.key)[:100]}: {shown(mistake.text)[:300]}"


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, AnyHTTPException)
    why = error.detail
    if why == "Not Found":  # the words of the framework
        why = "no such page"
    elif why == "Method Not Allowed":
        why = f"{request.method} is not for this address; /docs lists what is"
    wants_page = "text/html" in request.headers.get("accept", "")
    if wants_page and not request.url.path.startswith("/v1/"):
        return HTMLResponse(pages.error_page(error.status_code, str(why)), error.status_code)
    return JSONResponse({"error": why}, error.status_code, headers=error.headers)


async def _on_invalid(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    why = f"{shown(where)[:100]}: {first['msg']}"
    if first["loc"] == ("body",) or first["type"] == "json_invalid":
        why = 'expected a body in JSON, as application/json, such as {"sentence": "a person falls"}'
    return JSONResponse({"error": why}, 422)

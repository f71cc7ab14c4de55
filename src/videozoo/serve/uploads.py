"""Bytes of a client to a file of ours: limits hold while they arrive."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path, PurePosixPath

from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from videozoo.data.files import VIDEO_SUFFIXES, begins_as_video
from videozoo.safe_names import shown
from videozoo.serve.limits import MB, Limits

_MOST_NAME = 200
_ENOUGH_TO_TELL = 4096
_MOST_FIELD = 10_000
_FALLBACK = "video"


class UploadError(Exception):
    """An upload is refused; `status` is the one of HTTP."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status, self.why = status, why


def display_name(given: str) -> str:
    """A name of a file for people: without folders and without signs that cannot be shown.

    >>> display_name("C:\\\\films\\\\my film.mp4"), display_name("../../etc/passwd")
    ('my film.mp4', 'passwd')
    """
    name = shown(" ".join(PurePosixPath(given.replace("\\", "/")).name.split()))
    if len(name) > _MOST_NAME:  # the end tells more than the middle
        name = f"{name[: _MOST_NAME - 41]}\N{HORIZONTAL ELLIPSIS}{name[-40:]}"
    return name or _FALLBACK


def stored_name(name: str) -> str:
    """What the file is called here: only a known ending is taken over.

    >>> stored_name("my film.MKV"), stored_name("a.sh"), stored_name("x/../y.mp4/")
    ('video.mkv', 'video.mp4', 'video.mp4')
    """
    suffix = PurePosixPath(name).suffix.lower()
    return f"video{suffix if suffix in VIDEO_SUFFIXES else '.mp4'}"


class _File:
    """Takes the bytes of the video."""

    def __init__(self, folder: Path, limits: Limits) -> None:
        self._path, self._limits = folder / "upload.part", limits
        self._file = self._path.open("xb")
        self.size = 0
        self._is_told = False

    def write(self, data: bytes) -> None:
        """Add bytes.

        Raises:
            UploadError: There are too many, the disk is full, or this is no video.
        """
        self.size += len(data)
        if self.size > self._limits.upload_bytes:
            raise UploadError(413, f"larger than {self._limits.upload_mb:g} MB")
        try:
            self._file.write(data)
            if not self._is_told and self.size >= _ENOUGH_TO_TELL:
                self._tell()
        except OSError as error:
            raise UploadError(507, f"the disk of the server refuses: {error.strerror}") from None

    def _tell(self) -> None:
        self._file.flush()
        self._is_told = True
        if not begins_as_video(self._path):
            raise UploadError(415, "not a video: its first bytes are of no format that is known")

    def done(self, name: str) -> Path:
        """Give the file its name, when all bytes are there."""
        if self.size == 0:
            raise UploadError(400, "empty: no bytes arrived")
        self._tell()
        self.close()
        return self._path.rename(self._path.with_name(stored_name(name)))

    def close(self) -> None:
        """Close the file."""
        self._file.close()


async def receive(
    request: Request, folder: Path, limits: Limits
) -> tuple[str, Path, dict[str, str]]:
    """Take the video of a request: its body, or the field `file` of a form.

    Args:
        request: With the name of the video as `?name=`, or in the form.
        folder: Gets the file.
        limits: Of this server.

    Returns:
        The name for people, the file, and the other fields of a form.

    Raises:
        UploadError: It is refused, or ended early.
    """
    _check_declared(request, folder, limits)
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    file = _File(folder, limits)
    try:
        chunks = _chunks(request, limits)
        if kind == b"multipart/form-data":
            name, fields = await _from_form(chunks, options.get(b"boundary", b""), file)
        else:
            async for chunk in chunks:
                file.write(chunk)
            name, fields = request.query_params.get("name", ""), {}
        name = display_name(name)
        return name, file.done(name), fields
    finally:
        file.close()


def _check_declared(request: Request, folder: Path, limits: Limits) -> None:
    declared = request.headers.get("content-length")
    size = int(declared) if declared and declared.isdecimal() else 0
    if size > limits.upload_bytes + 2 * _MOST_FIELD:
        raise UploadError(413, f"{size / MB:,.0f} MB, larger than {limits.upload_mb:g} MB")
    free = shutil.disk_usage(folder).free - size
    if free < limits.free_mb * MB:
        raise UploadError(507, "the disk of the server is full; try again later")


async def _chunks(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    stream = request.stream()
    while True:
        try:
            chunk = await asyncio.wait_for(anext(stream), limits.idle_seconds)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise UploadError(408, f"no bytes for {limits.idle_seconds:g} s") from None
        except ClientDisconnect:
            raise UploadError(400, "ended before all bytes were there") from None
        yield chunk


class _Form:
    """The parts of a form: one file, and short fields."""

    def __init__(self, file: _File) -> None:
        self._file = file
        self._header = self._value = b""
        self._headers: dict[str, bytes] = {}
        self._field = b""
        self._is_file = False
        self.name: str | None = None
        self.fields: dict[str, str] = {}

    def callbacks(self) -> dict[str, Callable[..., None]]:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._add_header,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._data,
            "on_part_end": self._end,
        }

    def _begin(self) -> None:
        self._headers, self._field, self._is_file = {}, b"", False

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.decode("latin-1").lower()] = self._value
        self._header = self._value = b""

    def _begin_data(self) -> None:
        _, options = parse_options_header(self._headers.get("content-disposition", b""))
        self._key = options.get(b"name", b"").decode("utf-8", "replace")
        given = options.get(b"filename")
        self._is_file = given is not None or self._key == "file"
        if self._is_file:
            if self.name is not None:
                raise UploadError(400, "several files; send one per request")
            self.name = (given or b"").decode("utf-8", "replace")

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._file.write(data[start:end])
        else:
            self._field += data[start:end]
            if len(self._field) > _MOST_FIELD:
                raise UploadError(413, f"{self._key!r}: longer than {_MOST_FIELD:,} bytes")

    def _end(self) -> None:
        if not self._is_file:
            if len(self.fields) >= 100:
                raise UploadError(400, "more than 100 fields")
            before = self.fields.get(self._key)
            text = self._field.decode("utf-8", "replace")
            self.fields[self._key] = text if before is None else f"{before}\n{text}"


async def _from_form(
    chunks: AsyncIterator[bytes], boundary: bytes, file: _File
) -> tuple[str, dict[str, str]]:
    form = _Form(file)
    try:
        parser = MultipartParser(boundary, form.callbacks())  # pyright: ignore[reportArgumentType]
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except UploadError:
        raise
    except Exception as error:  # the parser has a class per fault
        raise UploadError(400, f"not a form of uploads: {error}") from None
    if form.name is None:
        raise UploadError(400, "no file: a form has it in the field `file`")
    return form.name, form.fields

"""One HTTP request for a file or the rest of it; errors by whether to try again."""

from __future__ import annotations

import http.client
import random
import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_CHUNK = 2**16
_LATER = (408, 425, 429, 500, 502, 503, 504)
_LONGEST_WAIT_SECONDS = 30.0
_MOST_REDIRECTIONS = 5
_ELSEWHERE = (301, 302, 303, 307, 308)
_TOKEN = "Authorization"


class Refused(Exception):  # noqa: N818 - never leaves this room
    """Another try will not help."""


class Unreachable(Exception):  # noqa: N818
    """No server answered."""


class Again(Exception):  # noqa: N818
    """Another try may succeed."""

    def __init__(self, reason: str, wait_seconds: float | None = None):
        super().__init__(reason)
        self.wait_seconds = wait_seconds
        """Seconds to wait, if the server names them."""


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait for a server, and how often."""

    answer_seconds: float = 10.0
    """Seconds until the first line of the answer, including name look-up and connection."""
    stall_seconds: float = 30.0
    """Seconds between two pieces of the answer."""
    tries: int = 5
    """Tries in a row without new bytes."""
    first_wait_seconds: float = 1.0
    """Seconds before the second try; doubled at every further one."""
    window_seconds: float = 120.0
    """Stretch of time in which `least_bytes` must arrive, over all tries."""
    least_bytes: int = 120_000
    """A server that sends less in `window_seconds` is given up: 1 kB/s."""
    most_seconds: float = 12 * 3600.0
    """Seconds for the whole file, whatever its server says of it."""
    most_bytes: int = 16 * 2**30
    """Bytes of a file whose size is not known."""

    def wait_seconds(self, tries: int, asked: float | None) -> float:
        """Seconds to wait after this many failed tries."""
        wait = self.first_wait_seconds * 2 ** max(0, tries - 1)
        wait = max(wait, asked or 0.0) * (1 + random.random() / 4)  # spreads many clients
        return min(wait, _LONGEST_WAIT_SECONDS)


class Pace:
    """Gives up a server that sends too slowly or for too long; waits between tries count, too."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._begun = self._window_start = time.monotonic()
        self._in_window = 0

    def note(self, num_bytes: int = 0) -> None:
        """Count bytes that have arrived.

        Raises:
            Refused: The server is too slow, or time is over.
        """
        now, patience = time.monotonic(), self._patience
        self._in_window += num_bytes
        if now - self._begun > patience.most_seconds:
            raise Refused(f"not done within {patience.most_seconds / 3600:.2g} hours")
        seconds = now - self._window_start
        if seconds < patience.window_seconds:
            return
        if self._in_window < patience.least_bytes * seconds / patience.window_seconds:
            raise Refused(
                f"the server is too slow: {self._in_window} bytes in {seconds:.3g} s, expected "
                f"{patience.least_bytes} in {patience.window_seconds:g} s"
            )
        self._window_start, self._in_window = now, 0


class Answer:
    """The answer of a server, whose content is still to be read."""

    def __init__(self, response: Any | None, asked_start: int):
        self._response = response
        self.is_past_the_end = response is None
        """The file has no bytes from the requested start on."""
        headers = {} if response is None else response.headers
        self.etag: str | None = headers.get("ETag")
        self.is_whole = False
        """Whether `chunks` reached the end that the server announced."""
        self.start, self.total = 0, _number(headers.get("Content-Length"))
        if response is not None and response.status == 206:
            self.start, self.total = _content_range(headers.get("Content-Range"), asked_start)
        is_weak = self.etag is None or self.etag.startswith("W/")
        self.validator: str | None = headers.get("Last-Modified") if is_weak else self.etag
        """For `If-Range`."""

    def chunks(self) -> Iterator[bytes]:
        """The content, as it arrives.

        Raises:
            Again: The connection broke off or fell silent.
        """
        if self._response is None:
            return
        while True:
            try:
                chunk = self._response.read1(_CHUNK)
            except TimeoutError:
                raise Again("the server fell silent") from None
            except (OSError, http.client.HTTPException) as error:
                raise Again(f"the connection broke off ({type(error).__name__})") from None
            if not chunk:
                break
            yield chunk
        self.is_whole = True


@contextmanager
def get(
    url: str, *, start: int, validator: str | None, patience: Patience, token: str | None = None
) -> Generator[Answer]:
    """Ask for a file from byte `start` on.

    Args:
        url: http or https. Proxies come from the environment.
        start: 0 for all of it.
        validator: The server's name for the version of the first bytes; if the version has changed,
            the whole file is sent.
        patience: How long to wait.
        token: What the user has been given to read there; another host is never told it.

    Raises:
        Refused, Unreachable, Again: See there.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise Refused("only http and https addresses are fetched")
    headers = {"User-Agent": "videozoo", "Accept-Encoding": "identity"}
    if start and validator:
        headers |= {"Range": f"bytes={start}-", "If-Range": validator}
    request = urllib.request.Request(url, headers=headers)
    if token:
        request.add_unredirected_header(_TOKEN, f"Bearer {token}")
    try:
        response = _open_within(request, patience)
    except urllib.error.HTTPError as error:
        with closing(error):
            if error.code == 416 and start:
                yield Answer(None, start)
                return
            if error.code in _ELSEWHERE:
                raise Refused(_why_not_followed(error)) from None
            reason = f"the server says {error.code} {error.reason}"
            if error.code in _LATER:
                raise Again(reason, _number(error.headers.get("Retry-After"))) from None
            raise Refused(reason) from None
    with response:
        yield Answer(response, start)


def is_reachable(url: str, patience: Patience | None = None) -> bool:
    """Whether any server answers there, with any status."""
    request = urllib.request.Request(url, headers={"User-Agent": "videozoo"}, method="HEAD")
    try:
        response = _open_within(request, patience or Patience())
    except urllib.error.HTTPError as error:
        error.close()
        return True
    except (Again, Refused):
        return True
    except Unreachable:
        return False
    response.close()
    return True


def _open_within(request: urllib.request.Request, patience: Patience) -> Any:
    """Open a request; give up in time even if the name look-up hangs."""
    outcome: list[Any] = []
    abandoned = threading.Event()

    def ask() -> None:
        try:
            outcome.append(_opener().open(request, timeout=patience.stall_seconds))
        except Exception as error:
            outcome.append(error)
        if abandoned.is_set() and hasattr(outcome[0], "close"):
            outcome[0].close()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(patience.answer_seconds)
    if not outcome:
        abandoned.set()
        raise Unreachable(f"no answer within {patience.answer_seconds:g} s")
    answer = outcome[0]
    if isinstance(answer, Exception):
        _raise_as_ours(answer)
    return answer


def _raise_as_ours(error: Exception) -> None:
    if isinstance(error, urllib.error.HTTPError):
        raise error
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        raise Refused(f"its certificate is not trusted ({cause.verify_message})") from None
    if isinstance(error, http.client.RemoteDisconnected):
        raise Again("the server hung up") from None
    if isinstance(error, http.client.HTTPException | ValueError):
        raise Refused(f"not a usable answer ({type(error).__name__}: {error})") from None
    if isinstance(cause, OSError):
        raise Unreachable(f"no connection ({cause.strerror or cause})") from None
    raise Refused(str(cause)) from None


class _HttpRedirects(urllib.request.HTTPRedirectHandler):
    max_redirections = _MOST_REDIRECTIONS
    max_repeats = 2

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        schemes = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if schemes not in (("http", "http"), ("http", "https"), ("https", "https")):
            fp.close()
            raise urllib.error.URLError(f"it sends on to {newurl[:200]!r}, which is less safe")
        fp.close()  # urllib would read what comes with it to its end, which may never come
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        token = req.unredirected_hdrs.get(_TOKEN)
        if request is not None and token and _host(newurl) == _host(req.full_url):
            request.add_unredirected_header(_TOKEN, token)
        return request


def _host(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]


def _why_not_followed(error: urllib.error.HTTPError) -> str:
    place = error.headers.get("Location")
    if place is None:
        return f"the server says {error.code}, and not where to go on"
    if urlsplit(place).scheme not in ("http", "https", ""):
        return f"it sends on to {place[:200]!r}; only http and https are followed"
    return f"it sends on in a circle, or more than {_MOST_REDIRECTIONS} times"


def _opener() -> urllib.request.OpenerDirector:
    """An opener for http and https only; urllib's default also opens files and ftp."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        _HttpRedirects(),
    ):
        opener.add_handler(handler)
    return opener


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else None


def _content_range(text: str | None, asked_start: int) -> tuple[int, int | None]:
    """First byte and length of the whole file, from `bytes 10-99/100`."""
    unit, _, rest = (text or "").partition(" ")
    span, _, total = rest.partition("/")
    start = _number(span.partition("-")[0])
    if unit != "bytes" or start != asked_start:
        raise Refused(f"the server sent another part than asked for ({text!r})")
    return asked_start, _number(total)

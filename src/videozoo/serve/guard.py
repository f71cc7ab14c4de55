"""Who may ask, and what every answer carries: token, host, origin, security headers."""

from __future__ import annotations

import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "videozoo_session"
_OPEN = (
    "/healthz",
    "/login",
    "/v1/session",
    "/static/serve.css",
    "/static/serve.js",
    "/favicon.ico",
)
"""What needs no token."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
_POLICY = (
    "default-src 'none'; script-src 'self'{scripts}; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; media-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def is_local(host: str) -> bool:
    """Whether an address is of this computer only.

    >>> is_local("127.0.0.1"), is_local("::1"), is_local("localhost"), is_local("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def policy(script_digest: str = "") -> str:
    """The content security policy; a page may have one script inside, by its digest."""
    return _POLICY.format(scripts=f" 'sha256-{script_digest}'" if script_digest else "")


class Guard:
    """ASGI middleware around the application."""

    def __init__(self, app: ASGIApp, *, token: str | None, host: str) -> None:
        """Guard an application.

        Args:
            app: The application.
            token: What requests must carry; None: none.
            host: Where the server listens. Where that is this computer only, requests must name it
                so: the name of another site could lead here (DNS rebinding).
        """
        self._app, self._token, self._is_local = app, token, is_local(host)
        self._session = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(Request(scope))

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("content-security-policy", policy())
            await send(message)

        if refusal is not None:
            await refusal(scope, receive, with_headers)
        elif scope["path"] == "/v1/session" and scope["method"] == "POST":
            await self._log_in(Request(scope, receive))(scope, receive, with_headers)
        else:
            await self._app(scope, receive, with_headers)

    def _refusal(self, request: Request) -> Response | None:
        host = urlsplit(f"//{request.headers.get('host', '')}").hostname or ""
        if self._is_local and not is_local(host):
            return _problem(421, "this server answers to localhost only")
        if request.method not in _SAFE and not _is_same_origin(request.headers):
            return _problem(403, "asked by a page of another site")
        if self._token is None or request.url.path in _OPEN or self._is_known(request):
            return None
        wants_page = "text/html" in request.headers.get("accept", "")
        if wants_page and request.method == "GET":
            return RedirectResponse("/login", 303)
        return _problem(401, "this server needs its token: Authorization: Bearer TOKEN",
                        {"www-authenticate": "Bearer"})  # fmt: skip

    def _is_known(self, request: Request) -> bool:
        assert self._token is not None
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and _equal(given.strip(), self._token):
            return True
        return _equal(request.cookies.get(COOKIE, ""), self._session)

    def _log_in(self, request: Request) -> Response:
        """Give a browser that has the token a cookie, which scripts of pages cannot read."""
        if self._token is not None and not self._is_known(request):
            return _problem(401, "this is not the token")
        answer = Response(status_code=204)
        answer.set_cookie(COOKIE, self._session, httponly=True, samesite="strict", path="/",
                          secure=request.url.scheme == "https")  # fmt: skip
        return answer


def _equal(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode(), right.encode())


def _is_same_origin(headers: Headers) -> bool:
    """Whether a request that changes something comes from our pages, or from no page."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc == headers.get("host")


def _problem(status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": why}, status, headers=headers)


def new_token() -> str:
    """A token that nobody can guess."""
    return secrets.token_urlsafe(24)

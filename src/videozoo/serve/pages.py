"""The pages of the server around the answers: the start, the head of a video's page, the API."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from importlib import resources
from typing import Any

from videozoo import __version__
from videozoo.safe_names import shown
from videozoo.serve.limits import Limits


def static(name: str) -> str:
    """A style sheet or a script; the style sheet begins with the one of all our pages."""
    own = resources.files("videozoo.serve").joinpath("static", name).read_text("utf-8")
    if not name.endswith(".css"):
        return own
    return resources.files("videozoo.report").joinpath("page.css").read_text("utf-8") + own


def start_page(models: Sequence[Mapping[str, Any]], limits: Limits, *, has_library: bool) -> str:
    """Where videos are dropped, and what became of those before."""
    titles = ", ".join(map(_asked, models))
    takes_sentences = any(each["takes_sentences"] for each in models)
    takes_every = any(each["takes_every_seconds"] for each in models)
    options: list[str] = []
    if takes_sentences:
        options.append(
            '<label for="sentence">Search for a moment, in your words (you can search later, too)'
            f'</label><input id="sentence" type="text" maxlength="{limits.sentence_length}" '
            'placeholder="a person falls" autocomplete="off">'
        )
    if takes_every:
        options.append(
            '<label for="every">An answer every so many seconds (empty: one for the whole video)'
            '</label><input id="every" type="number" min="0.1" max="3600" step="0.1" '
            'inputmode="decimal">'
        )
    options.append(
        '<label class="check"><input id="annotate" type="checkbox"> Also make a film with the '
        "answers drawn on it</label>"
    )
    library = (
        '<div class="card"><label for="library">Or choose a video of this server</label>'
        '<div class="row"><select id="library"></select>'
        '<button type="button" id="take">Ask about it</button></div></div>'
        if has_library
        else ""
    )
    body = f"""<h1>What is in a video?</h1>
<p class="lead">Asked: {titles}.</p>
<form id="ask" class="card" novalidate>
<div id="drop" class="drop" data-most="{limits.upload_bytes}">
<label for="file" class="button">Choose a video</label>
<input id="file" type="file" accept="video/*,.mkv,.avi,.mov,.webm" multiple>
<p>or drop it here. Up to {limits.upload_mb:g} MB and {_hours(limits.video_seconds)}.</p>
</div>
<fieldset class="options"><legend>Asked of a video; set this before you choose it</legend>
{"".join(options)}</fieldset>
</form>
{library}
<p id="said" class="fault" role="alert" hidden></p>
<section aria-labelledby="jobs-title">
<h2 id="jobs-title">Videos</h2>
<ul id="jobs" class="jobs"></ul>
<p id="news" class="unseen" role="status"></p>
<p id="none" class="hint">None yet. They are kept for {limits.keep_hours:g} hours.</p>
</section>
<noscript><p class="fault">This page needs JavaScript; the <a href="/docs">API</a> does not.</p>
</noscript>"""
    return _page("videozoo", body, more='<p><a href="/docs">API</a></p>')


def _asked(model: Mapping[str, Any]) -> str:
    named = model.get("named_by")
    return _text(f"{model['title']} (segments named by {named})" if named else model["title"])


def above_answers(job: str, sentences: Sequence[str], *, has_search: bool) -> str:
    """What stands above the answers about a video: a way back, a search box, downloads."""
    search = ""
    if has_search:
        said = "".join(f"<li><bdi>{_text(each)}</bdi></li>" for each in sentences)
        search = (
            '<form id="search" class="row" role="search"><label for="words">Find a moment</label>'
            '<input id="words" type="search" required placeholder="a person falls" '
            'autocomplete="off"><button type="submit">Search</button></form>'
            f'<ul class="searched" aria-label="searched for">{said}</ul>'
        )
    links = " ".join(
        f'<a href="{file}" download>{title}</a>'
        for file, title in (
            ("answers.json", "JSON"),
            ("answers.csv", "CSV"),
            ("answers.vtt", "WebVTT"),
            ("annotated.mp4", "annotated video"),
        )
    )
    return (
        f'<nav class="card served" data-job="{job}" aria-label="this video">'
        f'<p class="row"><a href="/">All videos</a><span class="grow"></span>'
        f'<span id="downloads">Download: {links}</span>'
        f'<button type="button" id="remove">Remove</button></p>{search}'
        '<p id="said" class="fault" role="alert" hidden></p>'
        '<p id="going" class="hint" role="status" hidden></p></nav>'
    )


def waiting_page(job: str, name: str) -> str:
    """The page of a video that has no answers yet."""
    body = f"""<nav class="card served" data-job="{job}" data-waits aria-label="this video">
<p class="row"><a href="/">All videos</a><span class="grow"></span>
<button type="button" id="remove">Remove</button></p></nav>
<h1><bdi>{_text(name)}</bdi></h1>
<p id="going" class="lead" role="status">Waiting</p>
<progress id="bar" max="1" value="0" aria-label="progress"></progress>
<p id="said" class="fault" role="alert" hidden></p>"""
    return _page(name, body)


def login_page() -> str:
    """Where the token is typed in."""
    body = """<h1>videozoo</h1>
<form id="login" class="card"><label for="token">The token of this server, which it printed when it
started</label>
<input type="text" autocomplete="username" value="videozoo" hidden>
<div class="row"><input id="token" type="password" required
autocomplete="current-password"><button type="submit">Enter</button></div></form>
<p id="said" class="fault" role="alert" hidden></p>"""
    return _page("videozoo: token", body)


def error_page(status: int, why: str) -> str:
    """A page that says what went wrong."""
    return _page(f"{status}", f'<h1>{_text(why)}</h1>\n<p><a href="/">All videos</a></p>')


def api_page(description: Mapping[str, Any]) -> str:
    """The API for people, from its OpenAPI description."""
    schemas = description.get("components", {}).get("schemas", {})
    parts: list[str] = []
    for path, methods in description["paths"].items():
        for method, one in methods.items():
            about = "".join(f"<p>{_with_code(line)}</p>" for line in _paragraphs(one))
            taken = [
                (each["name"], _kind(each.get("schema", {})), each.get("description", ""))
                for each in one.get("parameters", ())
                if each["in"] == "query"
            ]
            bodies: dict[str, list[tuple[str, str, str]]] = {"in the address": taken}
            for kind, body in one.get("requestBody", {}).get("content", {}).items():
                bodies[f"as {kind}"] = _fields(body["schema"], schemas)
            statuses = [
                (str(code), str(_SUCCESS.get(code) or each.get("description", "")))
                for code, each in one.get("responses", {}).items()
            ]
            tables = "".join(
                _rows((f"takes, {where}", "type", "what it is"), rows)
                for where, rows in bodies.items()
                if rows
            )
            parts.append(
                f'<section class="card"><h2><code>{method.upper()} {_text(path)}</code></h2>{about}'
                f"{tables}{_rows(('status', 'what it says'), statuses)}</section>"
            )
    body = (
        '<p><a href="/">All videos</a></p><h1>API</h1><p class="lead">For programs: '
        '<a href="/openapi.json">openapi.json</a>. Where the server has a token, send it as '
        f"<code>Authorization: Bearer TOKEN</code>. Errors are <code>{{&quot;error&quot;: &quot;why"
        f"&quot;}}</code>.</p>{''.join(parts)}"
    )
    return _page("videozoo: API", body)


_SUCCESS = {"200": "The answer.", "202": "Taken; the job.", "204": "Done; nothing to say."}


def _fields(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Names, types and meanings of the values of a body."""
    schema = schemas.get(str(schema.get("$ref", "")).rpartition("/")[2], schema)
    properties = schema.get("properties", {})
    if not properties:
        return [("the bytes", _kind(schema), "The video itself.")]
    needed = schema.get("required", ())
    return [
        (name, _kind(each), f"{each.get('description', '')}{' Needed.' * (name in needed)}".strip())
        for name, each in properties.items()
    ]


def _kind(schema: Mapping[str, Any]) -> str:
    """The type of a value in a word."""
    kinds = [schema, *schema.get("anyOf", ())]
    kind = next((str(each["type"]) for each in kinds if each.get("type", "null") != "null"), "")
    return "file" if schema.get("format") == "binary" else kind


def _rows(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{_text(each)}</th>' for each in heads)
    lines = "".join(
        f"<tr>{''.join(f'<td>{_with_code(each)}</td>' for each in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _with_code(text: str) -> str:
    """A text in which what stands in backticks is code."""
    pieces = _text(text).split("`")
    return "".join(
        f"<code>{piece}</code>" if number % 2 else piece for number, piece in enumerate(pieces)
    )


def _paragraphs(one: Mapping[str, Any]) -> Iterable[str]:
    text = str(one.get("description") or one.get("summary") or "")
    return [" ".join(part.split()) for part in text.split("\n\n") if part.strip()]


def _page(title: str, body: str, more: str = "") -> str:
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(title)}</title>
<link rel="stylesheet" href="/static/serve.css">
<script src="/static/serve.js" defer></script>
</head>
<body>
<main>
{body}
<footer>{more}videozoo {__version__}</footer>
</main>
</body>
</html>
"""


def _text(text: object) -> str:
    return escape(shown(" ".join(str(text).split())))


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:g} hours" if seconds >= 3600 else f"{seconds / 60:g} minutes"

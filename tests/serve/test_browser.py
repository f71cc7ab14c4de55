"""The pages in a real browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from tests.serve.running import MP4, listening
from videozoo.data.synthetic.clips import write_video

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium; apt-get install chromium"),
]
AUDIT = Path(__file__).with_name("audit.js").read_text("utf-8")
REAL = (sys.executable, "-m", "videozoo.serve.worker")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page on which nothing may go wrong unseen."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    faults: list[str] = []

    def on_error(error: Any) -> None:
        faults.append(str(error))

    def on_console(said: Any) -> None:
        if "Content Security Policy" in said.text:
            faults.append(said.text)

    opened.on("pageerror", on_error)
    opened.on("console", on_console)
    opened.set_default_timeout(60_000)
    yield opened
    context.close()
    assert faults == []


def texts(page: Any) -> list[str]:
    return page.locator("#jobs li .words").all_inner_texts()


def test_from_upload_to_seeking_and_downloads(page: Any, run: Path, tmp_path: Path):
    video = tmp_path / "my film.mp4"
    moving = np.random.default_rng(0).integers(0, 255, (32, 64, 96, 3), np.uint8)
    write_video(video, moving, frames_per_second=8)
    with listening(tmp_path / "jobs", weights=(str(run),), command=REAL) as server:
        page.goto(server.address)
        page.fill("#every", "0.5")
        page.check("#annotate")
        page.set_input_files("#file", str(video))
        page.wait_for_selector("#jobs li progress")
        link = page.get_by_role("link", name="my film.mp4")
        link.wait_for()
        page.wait_for_selector("#jobs li[data-state=done]")
        link.click()

        page.wait_for_selector("section.video video")
        for _ in range(100):  # wait_for_function needs eval, which the policy forbids
            if page.evaluate("document.querySelector('video').readyState") >= 1:
                break
            page.wait_for_timeout(100)
        page.locator("button.span").first.click()
        page.locator("td button[data-seek]").nth(1).click()  # the end of the first segment
        told = page.locator("[role=slider]").get_attribute("aria-valuenow")
        assert float(told) > 0
        assert page.evaluate("document.querySelector('video').currentTime") > 0
        page.locator("[role=slider]").press("Home")
        assert float(page.locator("[role=slider]").get_attribute("aria-valuenow")) == 0

        found: dict[str, bytes] = {}
        for name in ("JSON", "CSV", "WebVTT", "annotated video"):
            with page.expect_download() as started:
                page.get_by_role("link", name=name, exact=True).click()
            found[started.value.suggested_filename] = Path(started.value.path()).read_bytes()
        assert sorted(found) == [
            "my film.csv", "my film.json", "my film.vtt", "my film_annotated.mp4"
        ]  # fmt: skip
        answers = json.loads(found["my film.json"])
        rows = list(csv.DictReader(io.StringIO(found["my film.csv"].decode())))
        assert len(answers["models"][0]["results"][0]["segments"]) == len(rows)
        assert found["my film_annotated.mp4"][4:8] == b"ftyp"

        page.set_viewport_size({"width": 400, "height": 800})
        page.reload()
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) <= 400
        page.get_by_role("button", name="Remove").click()
        page.wait_for_url(f"{server.address}/")
        assert page.evaluate(wide) <= 400
        page.get_by_text("None yet").wait_for()
        assert list((tmp_path / "jobs" / "jobs").iterdir()) == []


def test_what_is_not_taken_is_said_beside_its_name(page: Any, tmp_path: Path):
    text = tmp_path / "notes.mp4"
    text.write_text("only words " * 2000)
    large = tmp_path / "large.mp4"
    large.write_bytes(MP4 + bytes(900_000))
    with listening(tmp_path / "jobs", upload_mb=0.5) as server:
        page.goto(server.address)
        page.set_input_files("#file", [str(text), str(large)])
        page.locator("#jobs li[data-state=failed]").nth(1).wait_for()

        said = texts(page)

        assert any("not a video" in each or "no video" in each for each in said)
        assert any("larger than" in each or "too large" in each for each in said)
        page.get_by_role("button", name="Remove notes.mp4").click()
        assert page.locator("#jobs li").count() == 1


def test_more_videos_than_the_queue_holds_are_sent_when_there_is_a_place(page: Any, tmp_path: Path):
    with listening(tmp_path / "jobs", waiting_jobs=2) as server:
        page.goto(server.address)
        files = [
            {"name": f"slow {number}.mp4", "mimeType": "video/mp4", "buffer": MP4}
            for number in range(8)
        ]
        page.set_input_files("#file", files)
        waits = page.locator("#jobs li", has_text=re.compile(r"Waits to be sent: \d+ videos wait"))
        waits.first.wait_for()
        removed = waits.first.locator(".name").inner_text()
        page.get_by_role("button", name=f"Remove {removed}").click()

        page.locator("#jobs li[data-state=done]").nth(6).wait_for()

        names = page.locator("#jobs li .name").all_inner_texts()
        assert sorted(names) == sorted({each["name"] for each in files} - {removed})
        assert set(texts(page)) == {"Done"}


def test_a_server_that_has_gone_is_told_from_a_file_that_is_refused(page: Any, tmp_path: Path):
    sent = {"name": "a.mp4", "mimeType": "video/mp4", "buffer": MP4}
    with listening(tmp_path / "jobs") as server:
        page.goto(server.address)
    page.set_input_files("#file", [sent])

    page.locator(".words", has_text="Not taken: the server does not answer").wait_for()


def test_two_at_once_a_failure_and_a_reload_in_the_middle(page: Any, tmp_path: Path):
    files = [
        tmp_path / name for name in ("slow one.mp4", "bad.mp4", "<img src=x onerror=alert(1)>.mp4")
    ]
    for file in files:
        file.write_bytes(MP4)
    with listening(tmp_path / "jobs") as server:
        page.goto(server.address)
        page.set_input_files("#file", list(map(str, files)))
        page.wait_for_selector("#jobs li")
        page.reload()

        page.locator("#jobs li[data-state=done]").nth(1).wait_for()

        said = texts(page)
        assert sorted(said) == ["Done", "Done", "Failed: cannot be read"]
        names = page.locator("#jobs li .name").all_inner_texts()
        assert sorted(names) == sorted(file.name for file in files)
        assert page.locator("img").count() == 0


def test_a_moment_is_searched_for(page: Any, tmp_path: Path):
    video = tmp_path / "a.mp4"
    video.write_bytes(MP4)
    with listening(tmp_path / "jobs") as server:
        page.goto(server.address)
        page.fill("#sentence", "a dog")
        page.set_input_files("#file", str(video))
        page.get_by_role("link", name="a.mp4").click()
        page.get_by_label("Find a moment").fill("a person <b>falls")
        page.keyboard.press("Enter")

        page.get_by_role("listitem").filter(has_text=re.compile("a person <b>falls")).wait_for()

        said = page.get_by_label("searched for").get_by_role("listitem").all_inner_texts()
        assert said == ["a dog", "a person <b>falls"]


def test_a_token_is_typed_in_or_comes_with_the_address(browser: Any, tmp_path: Path):
    token = "t0ken-" * 5
    with listening(tmp_path / "jobs", token=token) as server:
        for direct in (True, False):
            context = browser.new_context()
            page = context.new_page()
            if direct:
                page.goto(f"{server.address}/login#{token}")
            else:
                page.goto(server.address)
                page.get_by_label("The token").fill("wrong")
                page.keyboard.press("Enter")
                page.get_by_text("this is not the token").wait_for()
                page.get_by_label("The token").fill(token)
                page.keyboard.press("Enter")
            page.wait_for_selector("#ask")
            assert token not in page.url
            context.close()


def test_keys_alone_are_enough(page: Any, tmp_path: Path):
    with listening(tmp_path / "jobs") as server:
        page.goto(server.address)
        seen: list[str] = []
        for _ in range(8):
            page.keyboard.press("Tab")
            seen.append(page.evaluate("document.activeElement.id"))

        assert seen[:4] == ["file", "sentence", "every", "annotate"]
        unnamed = page.evaluate(
            "[...document.querySelectorAll('input, select, button')]"
            ".filter(e => !e.labels?.length && !e.textContent && !e.ariaLabel).length"
        )
        assert unnamed == 0


@pytest.fixture(scope="module")
def answered(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with one real answer, and a library of two videos: its address, and the job."""
    folder = tmp_path_factory.mktemp("answered")
    moving = np.random.default_rng(0).integers(0, 255, (32, 64, 96, 3), np.uint8)
    library = folder / "library"
    library.mkdir()
    for name in ("a.mp4", "b.mp4"):
        write_video(library / name, moving, frames_per_second=8)
    with (
        listening(folder / "jobs", weights=(str(run),), command=REAL, library=library) as server,
        httpx.Client(base_url=server.address, timeout=60) as client,
    ):
        query = {"name": "a long name of a film with words.mp4", "every_seconds": "0.5"}
        sent = client.post("/v1/jobs", content=(library / "a.mp4").read_bytes(), params=query)
        job = sent.json()["id"]
        end = time.monotonic() + 60
        while client.get(f"/v1/jobs/{job}").json()["state"] != "done":
            assert time.monotonic() < end
            time.sleep(0.1)
        yield server.address, job


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1200, 400, 320])
def test_pages_are_of_use_to_all(browser: Any, answered: tuple[str, str], scheme: str, width: int):
    address, job = answered
    context = browser.new_context(
        viewport={"width": width, "height": 800}, color_scheme=scheme, reduced_motion="reduce"
    )
    page = context.new_page()
    moves = "document.getAnimations().length"
    found: dict[str, Any] = {}
    for path in ("/", "/docs", "/login", f"/jobs/{job}/", "/jobs/0/"):
        page.goto(f"{address}{path}")
        page.wait_for_timeout(300)
        found[path] = [*page.evaluate(AUDIT), *["it moves"] * page.evaluate(moves)]
    context.close()
    assert {path: faults for path, faults in found.items() if faults} == {}


NAMES = (
    "Übergröße & Öl.mp4",
    "東京の映像.mp4",
    "שלום עולם.mp4",
    "<img src=x onerror=alert(1)>.mp4",
    "\"quotes\" and 'more'.mp4",
    "%2e%2e%2fetc.mp4",
    f"{'x' * 196}.mp4",
    "映" * 60 + ".mp4",
)


def test_names_of_all_kinds_are_shown_as_they_are(page: Any, tmp_path: Path):
    page.set_viewport_size({"width": 320, "height": 800})
    with listening(tmp_path / "jobs") as server:
        for name in NAMES:
            page.goto(server.address)
            sent = {"name": name, "mimeType": "video/mp4", "buffer": MP4}
            page.set_input_files("#file", [sent])
            page.wait_for_selector("#jobs li[data-state=done]")
            link = page.locator("#jobs li .name a").first
            assert link.inner_text() == name
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            link.click()
            with page.expect_download() as started:
                page.get_by_role("link", name="JSON").click()
            assert started.value.suggested_filename == downloaded_as(name)
            assert json.loads(Path(started.value.path()).read_text())["video"] == name
            page.get_by_role("button", name="Remove").click()
            page.wait_for_url(f"{server.address}/")
            assert page.locator("img").count() == 0


def downloaded_as(name: str) -> str:
    """What Chromium calls the file: signs that some systems do not have in names it replaces."""
    return re.sub(r'[<>"]', "_", name.removesuffix(".mp4")) + ".json"


def test_keys_lead_from_the_library_to_the_answers(page: Any, answered: tuple[str, str]):
    address, _ = answered
    page.goto(address)
    page.locator("#library option").nth(1).wait_for(state="attached")
    press, active = page.keyboard.press, "document.activeElement"

    def tab_to(script: str) -> None:
        for _ in range(40):
            press("Tab")
            if page.evaluate(f"{active}.matches({json.dumps(script)})"):
                return
        raise AssertionError(f"no way to {script} by Tab")

    tab_to("#every")
    page.keyboard.type("0.5")
    tab_to("#library")
    press("ArrowDown")
    tab_to("#take")
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    assert page.evaluate(ring) == "solid"
    press("Enter")
    page.locator("#news", has_text="b.mp4: Done").wait_for(state="attached")
    tab_to("#jobs a")
    press("Enter")
    page.wait_for_selector("section.video")
    tab_to("[role=slider]")
    before = page.locator("[role=slider]").get_attribute("aria-valuenow")
    press("ArrowRight")
    assert page.locator("[role=slider]").get_attribute("aria-valuenow") != before
    tab_to("button.span")
    press("Enter")
    tab_to("td button[data-seek]")

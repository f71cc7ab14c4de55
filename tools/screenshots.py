"""Take the pictures of `docs/serve.md`: `python -m tools.screenshots DEMO`.

DEMO is the folder of `videozoo demo all`, with its trained models and a new video. A server is
started with four of them; Chromium sends the video, asks for a moment, and looks at the pages.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

DOCS = Path(__file__).parents[1] / "docs"
MODELS = ("tsm", "bmn", "tall", "ets")
NAMES = "tsm"
"""Names the segments of BMN."""
WIDE, PHONE = (1200, 1500), (400, 860)
COLOURS = 256
"""Of a picture, so that it stays small."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", type=Path, help="the folder of `videozoo demo all`")
    parser.add_argument("--out", type=Path, default=DOCS, help="where the pictures go (docs/)")
    parser.add_argument("--chromium", default=None, help="the browser (the one of the system)")
    parsed = parser.parse_args()
    chromium = parsed.chromium or shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        parser.error("there is no Chromium: apt-get install chromium, or name it: --chromium FILE")
    missing = [name for name in MODELS if not (parsed.demo / name / "config.yaml").is_file()]
    if missing:
        parser.error(f"{parsed.demo}: no runs {', '.join(missing)}; make them: videozoo demo all")
    with served(parsed.demo) as address, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, picture in pictures(browser, address, parsed.demo / "new").items():
            path = parsed.out / f"{name}.png"
            save(picture, path)
            print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
        browser.close()


@contextmanager
def served(demo: Path) -> Generator[str]:
    """A server of the demo's models; gives its address."""
    weights = [word for name in MODELS for word in ("--weights", str(demo / name))]
    with tempfile.TemporaryDirectory() as jobs:
        command = [sys.executable, "-m", "videozoo", "serve", *weights, "--jobs", jobs]
        command += ["--labels", str(demo / NAMES), "--library", str(demo / "new"), "--port", "0"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            said = (line for line in process.stdout if "listening on" in line)
            line = next(said, None)
            if line is None:
                sys.exit("the server did not start; see above")
            yield line.split()[2]
        finally:
            process.terminate()
            process.communicate()


def pictures(browser: Any, address: str, new: Path) -> dict[str, bytes]:
    """The pages of a browser as PNG files, by name."""
    (video,) = sorted((new / "videos").iterdir())[:1]
    line = (new / "queries_test.txt").read_text("utf-8").splitlines()[0]
    moment, sentence = line.split("##")
    seconds = float(moment.split()[1]) + 1
    found: dict[str, bytes] = {}
    page = browser.new_page(viewport=dict(zip(("width", "height"), WIDE, strict=True)))
    page.goto(address)
    page.fill("#sentence", sentence.rstrip("."))
    page.fill("#every", "1")
    page.set_input_files("#file", str(video))
    page.get_by_role("link", name=video.name).wait_for(timeout=120_000)
    page.wait_for_selector("#jobs [data-state=done]")
    set_size(page, WIDE[0], 860)
    found["serve-start"] = page.screenshot()
    page.get_by_role("link", name=video.name).click()
    page.locator("section.video video").wait_for()
    for (width, height), name in ((WIDE, "serve"), (PHONE, "serve-phone")):
        set_size(page, width, height)
        page.evaluate(f"document.querySelector('video').currentTime = {seconds}")
        page.wait_for_timeout(1500)  # the frame of this time is shown
        page.evaluate("document.activeElement.blur()")
        if name == "serve-phone":
            page.evaluate("document.querySelector('section.video').scrollIntoView()")
        found[name] = page.screenshot()
    return found


def set_size(page: Any, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    page.evaluate("scrollTo(0, 0)")


def save(picture: bytes, path: Path) -> None:
    """Write a picture with few colours."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    few = image.quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main()

"""A worker without models: it does what the name of the video says."""

import json
import os
import sys
import time
from pathlib import Path

from videozoo.serve.pages import above_answers

HEAD = (
    '<link rel="stylesheet" href="/static/serve.css"><script src="/static/serve.js" defer></script>'
)
MODELS = [
    {"title": "Fake", "task": "moments", "classes": 2, "takes_sentences": True,
     "takes_every_seconds": True}
]  # fmt: skip


def say(**told: object) -> None:
    sys.stdout.write(json.dumps(told) + "\n")
    sys.stdout.flush()


def main() -> None:
    start = json.loads(sys.stdin.readline())
    if start["weights"] == ["broken"]:
        say(event="refused", why="broken: no weights")
        return
    word, _, path = start["weights"][0].partition(" ")
    if word == "if" and not Path(path).exists():
        say(event="refused", why=f"{path}: no weights")
        return
    say(event="ready", models=MODELS)
    for line in sys.stdin:
        task = json.loads(line)
        if task["name"].startswith("die at once"):
            os.abort()
        say(event="progress", id=task["id"], done=0, of=2, what="reading")
        name, folder = task["name"], Path(task["folder"])
        if name.startswith("crash"):
            os.abort()
        if name.startswith("hang"):
            time.sleep(600)
        if name.startswith("large"):
            say(event="failed", id=task["id"], why="needs more memory", is_last=True)
            time.sleep(0.2)
            return
        if name.startswith("slow"):
            time.sleep(0.3)
        if name.startswith("bad"):
            say(event="failed", id=task["id"], why="cannot be read")
            continue
        size = Path(task["video"]).stat().st_size
        answers = {"video": name, "size": size, "sentences": task["sentences"]}
        (folder / "answers.json").write_text(json.dumps(answers), "utf-8")
        (folder / "answers.csv").write_text("video\r\n", "utf-8")
        above = above_answers(task["id"], task["sentences"], has_search=True)
        page = f"<title>{len(name)}</title>{HEAD}<section class=video>{above}</section>"
        (folder / "page.html").write_text(page, "utf-8")
        say(event="done", id=task["id"])
        if name.startswith("leave"):
            return


if __name__ == "__main__":
    main()

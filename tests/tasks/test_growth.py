"""Twenty thousand clips and records: training, evaluation and prediction do not grow with them.

A command runs in a process of its own, which is looked at from outside, five times per second: the
memory that it and its readers have for themselves, their open files and threads, temporary files.
A result per item, which is written at the end, may take 4 KB; nothing else may grow.
Growth is from the second fifth of the time in which it reads, when all is warm, to the last.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.figures import Figures
from tests.forked import Forks
from tests.tasks.test_tagging import make_videos
from tests.tasks.tiny_runs import make_training
from videozoo.data.features.record_formats import write_shard

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looked up as on Linux"),
]

COUNT = int(os.environ.get("GROWTH_ITEMS", "20000"))
SECONDS = 3000
READERS = 1
ALONE = ("--valid-interval", "0")  # a validation has readers of its own
LIMITS = {"MB": 10.0, "files": 16, "threads": 0, "processes": 0, "temporary files": 0}
"""Growth while it reads. Open files: every tensor on its way from a reader is one."""
WITH_RESULTS = {("tsm", "eval"), ("tsm", "predict"), ("nextvlad", "predict")}
"""What writes a result per item, all at the end."""
RESULT_KB = 4
"""Memory of such a result until then, and for writing it."""


@dataclass(frozen=True)
class Look:
    """What the processes of a command have at one moment."""

    own_mb: float
    """Of the main process."""
    readers_mb: float
    files: int
    threads: int
    processes: int
    temporary_files: int

    def over(self, other: Look) -> dict[str, float]:
        """How much more than at another moment, by unit."""
        return {
            "MB": self.own_mb + self.readers_mb - other.own_mb - other.readers_mb,
            "files": self.files - other.files,
            "threads": self.threads - other.threads,
            "processes": self.processes - other.processes,
            "temporary files": self.temporary_files - other.temporary_files,
        }


def look_at(process: int, temporary: Path) -> Look | None:
    """Look at a process and those that it has started; None if one ends meanwhile."""
    try:
        family = [process, *children_of(process)]
        memory = list(map(memory_of, family))
        return Look(
            own_mb=memory[0],
            readers_mb=sum(memory[1:]),
            files=sum(len(os.listdir(f"/proc/{one}/fd")) for one in family),  # noqa: PTH208
            threads=sum(len(list(Path(f"/proc/{one}/task").iterdir())) for one in family),
            processes=len(family),
            temporary_files=sum(1 for _ in temporary.rglob("*")),
        )
    except (OSError, KeyError):
        return None


def children_of(process: int) -> list[int]:
    tasks = Path(f"/proc/{process}/task")
    return [
        int(word) for task in tasks.iterdir() for word in (task / "children").read_text().split()
    ]


def memory_of(process: int) -> float:
    """Memory that is no file's, in MB."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return int(fields["RssAnon"].split()[0]) / 1024


def most(looks: Sequence[Look]) -> Look:
    """The largest of each figure, so that a queue that fills and empties is no growth."""
    names = Look.__dataclass_fields__
    return Look(**{name: max(getattr(look, name) for look in looks) for name in names})


def watched(forks: Forks, words: Sequence[object], temporary: Path) -> list[Look]:
    """Run a command and look at it all the time."""
    before = shared_memory()
    process = forks.start(*words, env={"TMPDIR": str(temporary)})
    looks: list[Look] = []
    limit = time.monotonic() + SECONDS
    while process.poll() is None:
        assert time.monotonic() < limit, process.errors()
        if (look := look_at(process.pid, temporary)) is not None:
            looks.append(look)
        time.sleep(0.2)
    assert process.returncode == 0, process.errors()
    assert not list(temporary.iterdir())
    assert not [name for name in shared_memory() - before if f"_{process.pid}_" in name]
    return looks


def shared_memory() -> set[str]:
    return {path.name for path in Path("/dev/shm").glob("torch_*")}


def growth_while_reading(looks: Sequence[Look]) -> dict[str, float]:
    reading = [look for look in looks if look.processes > READERS]
    assert len(reading) >= 20, "it was too fast to be looked at"
    fifth = len(reading) // 5
    return most(reading[-fifth:]).over(most(reading[fifth : 2 * fifth]))


def many_items(folder: Path, model: str) -> tuple[Path, str, str]:
    """A configuration that trains on all items, the list of them, and what to predict on."""
    config = make_training(folder, model, num_workers=READERS)
    settings: dict[str, Any] = yaml.safe_load(config.read_text())
    many = folder / "many"
    many.mkdir()
    if model == "tsm":
        listed = Path(settings["data"]["train"])
        clips = [line.rsplit(" ", 1) for line in listed.read_text().splitlines()]
        lines: list[str] = []
        for number in range(COUNT):
            name, label = clips[number % len(clips)]
            link = many / f"c{number:05d}.mp4"
            os.link(listed.parent / name, link)
            lines.append(f"{link} {label}\n")
        data = folder / "many.list"
        data.write_text("".join(lines))
    else:
        some, shards = make_videos(200, seed=5), 10
        for shard in range(shards):
            numbers = range(shard, COUNT, shards)
            records = [replace(some[n % len(some)], name=f"r{n:05d}") for n in numbers]
            write_shard(many / f"{shard}.tfrecord", records)
        data = many
    settings["data"]["train"] = str(data)
    settings["train"] |= {"epochs": 1, "warmup_epochs": 0, "batch_size": 32}
    settings["train"]["gradient_accumulation"] = 1
    config.write_text(yaml.safe_dump(settings))
    return config, str(data), str(many)


@pytest.mark.guarantee(
    f"Training, evaluation and prediction over {COUNT:,} clips or records grow by results alone"
)
@pytest.mark.parametrize("model", ["tsm", "nextvlad"])
def test_nothing_grows_with_the_number_of_items(
    model: str, tmp_path: Path, forks: Forks, figures: Figures, capsys: pytest.CaptureFixture[str]
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    (tmp_path / "data").mkdir()
    config, data, videos = many_items(tmp_path / "data", model)
    run = tmp_path / "run"
    commands: Mapping[str, Sequence[object]] = {
        "train": ["train", "--config", config, "--save-dir", run, "--log-interval", "20", *ALONE],
        "eval": ["eval", "--weights", run, "--data", data, "--save-dir", tmp_path / "eval"],
        "predict": ["predict", "--weights", run, "--save-dir", tmp_path / "predict", videos],
    }
    broken: list[str] = []
    for name, words in commands.items():
        looks = watched(forks, words, temporary)
        growth = growth_while_reading(looks)
        allowed = dict(LIMITS)
        if (model, name) in WITH_RESULTS:
            allowed["MB"] += RESULT_KB * COUNT / 1000
        peak = max(look.own_mb for look in looks)
        over = peak - max(look.own_mb for look in looks[: len(looks) // 5])
        wrong = [
            f"{name}: {growth[unit]:g} {unit}" for unit in growth if growth[unit] > allowed[unit]
        ]
        if over > allowed["MB"]:
            wrong.append(f"{name}: {over:g} MB at the end")
        figures.add(cases=COUNT, failures=bool(wrong))
        for unit in ("MB", "files"):
            kind = f"{unit} more ({name})"
            worst = max(growth[unit], over) if unit == "MB" else growth[unit]
            figures.add(worst=worst, unit=kind, limit=allowed[unit])
        with capsys.disabled():
            print(f"\n{model} {name}: {growth}, at most {over:.1f} MB above the first fifth")
        broken += wrong
    assert not broken
    assert json.loads((tmp_path / "eval" / "eval.json").read_text())["videos"] == COUNT
    found = json.loads((tmp_path / "predict" / "predictions.json").read_text())
    assert len(found["predictions"]) == COUNT

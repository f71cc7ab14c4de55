"""Entries for files of data: configurations, lists, annotations, features, videos, results.

The seeds of text formats are the examples of the tables of formats: a new format is fuzzed as soon
as it has a row there.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import pickle
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from PIL import Image

from tests.data.make_clips import moving_frames, write_clip
from tests.data.test_formats import FEATURES, RECORD, example, write
from tests.fuzz.harness import Entry, Seed
from videozoo.cli import main
from videozoo.config import load_config
from videozoo.data.annotations import (
    class_names,
    list_formats,
    result_formats,
    segment_formats,
    sentences,
    video_labels,
)
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.class_weights import read_class_weights
from videozoo.data.annotations.result_formats import read_any_results
from videozoo.data.annotations.segment_types import Reading
from videozoo.data.annotations.segments import read_annotations, read_durations
from videozoo.data.annotations.sentence_vectors import GivenVectors
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.annotations.videos import read_list
from videozoo.data.captions import read_vocabulary
from videozoo.data.features import by_name, record_formats
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import EXTRACTOR, EXTRACTOR_FORMAT
from videozoo.data.formats import Format
from videozoo.data.frames.video import header_seconds, open_video
from videozoo.data.proposals import read_proposals
from videozoo.engine.run_folder import RunFolder
from videozoo.errors import VideozooError
from videozoo.packaged_configs import config_names, find_config
from videozoo.weights.archive import check_archive

_NUM_CLASSES = 6
_MOST_FRAMES = 40

# --- seeds -----------------------------------------------------------------------------------


def files_in(folder: Path) -> dict[str, bytes]:
    """Files below a folder, by their paths in it."""
    found = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def made(given: str, make: Callable[[Path], object]) -> Seed:
    """A seed of the files that a function writes."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, given)
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path)
        return Seed(given.split("/")[0], files_in(Path(name)))


def text(given: str, content: str, **fixed: str) -> Seed:
    """A seed of one text file."""
    beside = {name.replace("_", "."): held.encode() for name, held in fixed.items()}
    return Seed(given, {given: content.encode()}, beside)


def examples(
    *tables: Iterable[Format[Any, Any]], fixed: dict[str, bytes] | None = None
) -> list[Seed]:
    """The examples of tables of formats."""
    seeds: list[Seed] = []
    for one in (each for table in tables for each in table):
        with tempfile.TemporaryDirectory() as name:
            given = example(Path(name), one)
            seeds.append(Seed(given.name, files_in(Path(name)), fixed or {}))
    return seeds


# --- what must hold for a result -------------------------------------------------------------


def check(holds: bool, *what: object) -> None:
    """Raise AssertionError: a wrong answer without a word."""
    if not holds:
        raise AssertionError(f"accepted: {what}")


def command(*words: str) -> Callable[[Path], None]:
    """A command line; FILE stands for the path, HERE for its folder."""

    def run(path: Path) -> None:
        here = str(path.parent)
        with contextlib.chdir(here):  # what relative paths in configurations mean
            run_main(
                main, [word.replace("FILE", str(path)).replace("HERE", here) for word in words]
            )

    return run


def run_main(entry: Callable[[list[str]], int], words: list[str]) -> None:
    """Run a command line. It must not call anything a fault of its own."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = entry(words)
    shown = said.getvalue()
    check("fault of videozoo" not in shown and "Traceback" not in shown, shown[-600:])
    if status:
        raise VideozooError(shown[-3000:])


# --- configurations --------------------------------------------------------------------------


def _config_seeds() -> list[Seed]:
    return [text("run.yaml", find_config(Path(name)).read_text()) for name in config_names()]


# --- annotations -----------------------------------------------------------------------------


def _segments(path: Path) -> None:
    label_from = "verb" if path.name.startswith("EPIC") else None
    reading = Reading(label_from=label_from, spot_seconds=2.0)
    found = read_annotations(
        path,
        reading=reading,
        frames_per_second=25.0,
        durations={"a": 9.0, "video_validation_0000051": 9.0, "1": 9.0, "2": 9.0},
        quiet=True,
    )
    for video in found.videos:
        check(0 < video.duration_seconds < math.inf, video)
        for one in video.instances:
            check(math.isfinite(one.start_seconds) and math.isfinite(one.end_seconds), one)
            check(one.start_seconds < one.end_seconds, one)
            check(one.label in found.class_names, one)
    for video in found.videos:
        shares = video.shares()
        check(bool(((shares >= 0) & (shares <= 1)).all()), shares)


def _sentences(path: Path) -> None:
    found = read_timed_sentences(path, whole_videos=True)
    for one in found.sentences:
        check(bool(one.sentence.strip()), one)
        check(one.is_whole or math.isfinite(one.start_seconds + one.end_seconds), one)
    # their order is checked where the length of the video is known
    check(all(map(math.isfinite, found.durations.values())), found.durations)


_LISTED = {"run/abc.mp4": b"x", "abc.mp4": b"x", "splits/abc.mp4": b"x"}


def _list(path: Path) -> None:
    entries = read_list(
        path,
        num_classes=_NUM_CLASSES,
        labels="optional",
        missing="skip",
        several="as listed",
        may_be_parts=True,
    )
    for one in entries:
        for label in one.classes or ():
            check(0 <= label < _NUM_CLASSES, one)
        first, after = one.frame_span or (0, 1)
        check(0 <= first < after, one)
        start, end = one.start_seconds, one.end_seconds
        check(start is None or (0 <= start < math.inf), one)
        check(end is None or (start or 0) < end < math.inf, one)


def _labels(path: Path) -> None:
    found = read_labels(path, may_name=True)
    check(all(one >= 0 for labels in found.entries.values() for one in labels), found.entries)


def _durations(path: Path) -> None:
    check(all(0 < one < math.inf for one in read_durations(path).values()), path)


def _class_weights(path: Path) -> None:
    found = read_class_weights(path, 2, ["run", "jump"])
    check(all(0 <= one < math.inf for one in found), found)


# --- features --------------------------------------------------------------------------------


def _features(path: Path) -> None:
    found = FeatureFiles(path)
    check(found.own_rate is None or 0 < found.own_rate < math.inf, found.own_rate)
    check(all(0 < one < math.inf for one in found.durations.values()), found.durations)
    for name in islice(found, 20):
        array = found.read(name)
        check(array.dtype == np.float32 and array.ndim == 2 and len(array) > 0, array)
        check(bool(np.isfinite(array).all()), array)
        check(found.length(name) == len(array), found.length(name), len(array))


def _records(path: Path) -> None:
    found = find_records(path)
    for number in islice(range(len(found)), 20):
        record = found.read(number)
        for frames in record.streams.values():
            check(frames.ndim == 2, frames.shape)
        check(all(label >= 0 for label in record.labels or ()), record.labels)
        for one in record.ratings or ():
            check(0 <= one.start < one.end, one)


def _write_features(path: Path) -> None:
    suffix = path.suffix
    if suffix == ".h5":
        with h5py.File(path, "w") as file:
            file.create_group("v").create_dataset("rgb", data=FEATURES)
            file["w"] = FEATURES
    elif suffix == ".npz":
        np.savez_compressed(path, rgb=FEATURES, flow=FEATURES)
    else:
        write(path, "0.5,0.25\n1,2\n")


def _extracted() -> list[Seed]:
    """A folder and a pack as `videozoo extract` writes them, with rate and lengths."""
    facts = {"encoder": "a", "rate": 2.0}

    def pack(path: Path) -> None:
        path.parent.rmdir()
        with PackWriter(path.parent, extractor=facts) as writer:
            writer.write(replace(RECORD, duration_seconds=1.0, facts={"path": "a.mp4"}))

    def folder(path: Path) -> None:
        np.save(path, FEATURES)
        line = {"name": "a", "file": "a.npy", "length": 2, "duration_seconds": 1.0}
        path.with_name("videos.jsonl").write_text(json.dumps({**line, "path": "a.mp4"}) + "\n")
        about = {"format": EXTRACTOR_FORMAT, "version": 1, "kind": "npy", "extractor": facts}
        path.with_name(EXTRACTOR).write_text(json.dumps(about))

    return [made("pack/manifest.json", pack), made("folder/a.npy", folder)]


def _feature_seeds() -> list[Seed]:
    return [
        *_extracted(),
        *examples(by_name.FORMATS),
        *(made(name, _write_features) for name in ("all.h5", "two.npz", "plain.csv")),
        made("pack/manifest.json", lambda path: write(path, "")),
    ]


def _record_seeds() -> list[Seed]:
    many = pickle.dumps([{"video": "a", "feature": FEATURES, "label": [1], "nframes": 2}])
    kinds = [one for one in record_formats.FORMATS if one.name != "pickle"]
    return [*examples(kinds), Seed("a.pkl", {"a.pkl": many}), *_segment_shards()]


def _segment_shards() -> list[Seed]:
    folder = Path(__file__).parents[3] / "shared" / "cases" / "yt8m"
    shards = sorted(folder.glob("*.tfrecord"))
    return [Seed(path.name, {path.name: path.read_bytes()}) for path in shards]


def _vector_seeds() -> list[Seed]:
    def npz(path: Path) -> None:
        np.savez(path, sentences=np.array(["a man", "a dog"]), vectors=FEATURES)

    held = pickle.dumps({"a man": FEATURES[0], "a dog": FEATURES[1]})
    return [made("vectors.npz", npz), Seed("vectors.pkl", {"vectors.pkl": held})]


# --- videos ----------------------------------------------------------------------------------


def _video(path: Path) -> None:
    seconds = header_seconds(path)
    check(seconds is None or math.isfinite(seconds), seconds)
    with open_video(path) as video:
        count = video.num_frames
        check(count > 0, count)
        info = video.info
        check(info.frames_per_second is None or 0 < info.frames_per_second < math.inf, info)
        times = video.frame_seconds
        if times is not None:
            check(len(times) == count, len(times), count)
            check(all(map(math.isfinite, times)) and times == sorted(times), times[:9])
        frames = video.read([0, count // 2, count - 1])
        check(frames.shape == (3, info.height, info.width, 3), frames.shape, info)
        for frame in islice(video.frames(), _MOST_FRAMES):
            check(frame.shape == (info.height, info.width, 3), frame.shape)


@cache
def _film() -> Any:
    return moving_frames(8, height=32, width=48)


def _films() -> list[Seed]:
    names = {"a.mp4": "libx264", "a.avi": "mpeg4", "a.mkv": "libx264", "a.webm": "libvpx"}
    names |= {"a.mpg": "mpeg2video", "a.ts": "libx264"}
    return [
        made(name, partial(write_clip, frames=_film(), codec=codec))
        for name, codec in names.items()
    ]


def _pictures() -> list[Seed]:
    def still(path: Path) -> None:
        for number in range(2):
            Image.fromarray(_film()[number]).save(path.with_stem(f"{path.stem}{number}"))

    def moving(path: Path) -> None:
        frames = [Image.fromarray(frame) for frame in _film()]
        frames[0].save(path, save_all=True, append_images=frames[1:], duration=40)

    def jpegs(path: Path) -> None:
        stream = io.BytesIO()
        Image.fromarray(_film()[0]).save(stream, "JPEG")
        path.write_bytes(pickle.dumps(("a", 0, [stream.getvalue()] * 2), 2))

    names = [f"frames/f{suffix}" for suffix in (".jpg", ".png", ".bmp", ".webp")]
    return [
        *(made(name, still) for name in names),
        made("a.webp", moving),
        made("a.gif", moving),
        made("a.pkl", jpegs),
    ]


# --- results and commands --------------------------------------------------------------------

_TRUTH = {
    "truth.json": json.dumps(
        {
            "database": {
                "a": {
                    "duration": 9,
                    "subset": "validation",
                    "annotations": [{"segment": [1.0, 2.5], "label": "run"}],
                }
            }
        }
    ).encode()
}


def _results(path: Path) -> None:
    name, found = read_any_results(path)
    check(bool(name), found)
    numbers: list[float] = []
    if isinstance(found, result_formats.SegmentResults):
        for one in (each for held in found.by_video.values() for each in held):
            check(one.start_seconds <= one.end_seconds, one)
            numbers += [one.start_seconds, one.end_seconds, one.score]
    elif isinstance(found, result_formats.LabelResults):
        numbers += [one for held in found.by_video.values() for one in held.values()]
    elif isinstance(found, result_formats.MomentResults):
        for one in found.answers:
            check(bool((one.moments[:, 0] <= one.moments[:, 1]).all()), one.moments)
            numbers += [*one.moments.ravel().tolist(), *one.scores.tolist()]
    check(all(map(math.isfinite, numbers)), numbers[:9])


def _scored_seeds() -> list[Seed]:
    held = '{"results": {"a": [{"segment": [1.0, 2.5], "score": 0.9, "label": "run"}]}}'
    return [Seed("results.json", {"results.json": held.encode()}, _TRUTH)]


def _truth_seeds() -> list[Seed]:
    held = '{"results": {"a": [{"segment": [1.0, 2.5], "score": 0.9, "label": "run"}]}}'
    return [Seed("truth.json", _TRUTH, {"results.json": held.encode()})]


def _converted_seeds() -> list[Seed]:
    table = "video,start,end,label\na,1.0,2.5,run\n"
    return [Seed("truth.json", _TRUTH), text("table.csv", table)]


def _archives() -> list[Seed]:
    def packed(path: Path) -> None:
        with tarfile.open(path, "w:gz") as archive:
            for name in ("net/w", "net/b"):
                member = tarfile.TarInfo(name)
                member.size = 4
                archive.addfile(member, io.BytesIO(b"1234"))

    return [made("net.tar.gz", packed)]


def _run_files() -> list[Seed]:
    lines = '{"epoch": 1, "loss": 0.5}\n{"epoch": 2, "loss": 0.25}\n'
    start = '{"videozoo": "1", "weights": null}'
    files = {"run/metrics.jsonl": lines.encode(), "run/start.json": start.encode()}
    return [Seed("run", files)]


def _run_folder(path: Path) -> None:
    run = RunFolder(path)
    for line in run.read_metrics():
        check(set(line) == set(dict(line)), line)
    run.read_start()


_PROPOSALS = (
    "xmin,xmax,xmin_score,xmax_score,score,match_iou,match_ioa\n0.1,0.5,0.9,0.8,0.7,0.6,0.5\n"
)

ENTRIES: tuple[Entry, ...] = (
    Entry("configurations", _config_seeds, load_config, share=12),
    Entry(
        "config-show",
        lambda: _config_seeds()[:6],
        command("config", "show", "FILE"),
        share=3,
    ),
    Entry("lists", lambda: examples(list_formats.FORMATS, fixed=_LISTED), _list, share=20),
    Entry("segments", lambda: examples(segment_formats.FORMATS), _segments, share=40),
    Entry("sentences", lambda: examples(sentences.FORMATS), _sentences, share=20),
    Entry("labels", lambda: examples(video_labels.FORMATS), _labels),
    Entry("results", lambda: examples(result_formats.FORMATS), _results, share=25),
    Entry(
        "class-names",
        lambda: examples(class_names.FORMATS),
        read_class_names,
    ),
    Entry(
        "class-weights",
        lambda: [text("w.txt", "run 1\njump 2.5\n"), text("w.json", '{"run": 1, "jump": 2}')],
        _class_weights,
        share=5,
    ),
    Entry(
        "durations",
        lambda: [text("d.txt", "a 9\nb 2.5\n"), text("d.json", '{"a": 9, "b": 2.5}')],
        _durations,
        share=5,
    ),
    Entry(
        "vocabularies",
        lambda: [text("words.txt", "<s>\n<e>\n<unk>\nman 3\n")],
        read_vocabulary,
        share=3,
    ),
    Entry(
        "proposals",
        lambda: [text("a.csv", _PROPOSALS)],
        lambda path: read_proposals(path, matched=True),
        share=5,
    ),
    Entry("features", _feature_seeds, _features, share=30),
    Entry("records", _record_seeds, _records, share=25),
    Entry("sentence-vectors", _vector_seeds, GivenVectors, share=8),
    Entry("videos", _films, _video, share=12),
    Entry("pictures", _pictures, _video, share=12),
    Entry(
        "score-results",
        _scored_seeds,
        command("score", "FILE", "--truth", "HERE/truth.json"),
        share=4,
    ),
    Entry(
        "score-truth",
        _truth_seeds,
        command("score", "HERE/results.json", "--truth", "FILE"),
        share=4,
    ),
    Entry(
        "convert",
        _converted_seeds,
        command("convert", "FILE", "HERE/out.json", "--to", "activitynet"),
        share=4,
    ),
    Entry("archive-check", _archives, check_archive, share=8),
    Entry("run-files", _run_files, _run_folder, share=5),
    Entry(
        "check-data",
        _converted_seeds,
        command("check-data", "FILE", "--no-cache", "--workers", "1"),
        share=3,
    ),
)
"""Of the data; the names are also those of the folders in `found/`."""

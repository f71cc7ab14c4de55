"""Entries that are whole commands: configurations, data under a good one, run folders, inputs.

Every world is small: two videos of 48x32 pixels, or features of a few videos. Commands run in the
process of the case, from the folder above it, so that paths start with `case/`. A training ends
when its first step would begin: what is read is in question here, not what is learnt.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
import yaml

from tests.data.make_clips import moving_frames, write_clip
from tests.fuzz.data_entries import check, examples, files_in
from tests.fuzz.harness import Entry, Seed
from tests.fuzz.mutators import mutate_settings
from tests.fuzz.pickles import mutate_held, mutate_pickle
from tests.fuzz.weights_entries import mutate_safetensors
from tests.weights.test_paddle import record
from videozoo import cli, cli_v1
from videozoo.config import load_config
from videozoo.data.annotations import result_formats, segment_formats, sentences, video_labels
from videozoo.data.features import record_formats
from videozoo.data.features._index import cache_folder
from videozoo.data.features.packs import PackWriter
from videozoo.data.features.record_formats import find_records
from videozoo.data.features.records import FeatureRecord
from videozoo.data.frames._check_cache import FactCache, stamp_of
from videozoo.data.label_index import label_index
from videozoo.data.moments import read_lengths
from videozoo.engine import loop
from videozoo.errors import VideozooError
from videozoo.tasks import building
from videozoo.weights.paddle import write_pdparams

HERE = "case"
GOLDEN = Path(__file__).parents[1] / "golden"


_MEMORY = 2**27
"""Bytes of memory that the machine is said to have, which a network may fill."""


class Enough(BaseException):
    """The first step of a training would begin."""


def _enough(*_: object, **__: object) -> float:
    raise Enough


def ran(main: Callable[[Sequence[str]], int], *words: str) -> str:
    """Run a command line; returns what it prints.

    Raises:
        VideozooError: It ends with another status than 0.
    """
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
        mock.patch.object(loop._Run, "_step", _enough),
        mock.patch.object(building, "memory_bytes", return_value=_MEMORY),
    ):
        try:
            status = main(words)
        except Enough:
            status = 0
    shown = said.getvalue()
    for sign in ("fault of videozoo", "Traceback", "memory does not suffice"):
        check(sign not in shown, shown[-900:])
    if status:
        raise VideozooError(shown[-3000:])
    return shown


def command(
    *words: str, main: Callable[[Sequence[str]], int] = cli.main
) -> Callable[[Path], object]:
    """A command line of a case; FILE stands for the path."""
    return lambda path: ran(main, *(word.replace("FILE", os.path.relpath(path)) for word in words))


# --- worlds ----------------------------------------------------------------------------------

DIM = 8


def _features(number: int, steps: int = 20) -> Any:
    return np.random.default_rng(number).normal(0, 1, (steps, DIM)).astype(np.float32)


def _pack(folder: Path, names: Sequence[str], *, steps: int = 20) -> None:
    with PackWriter(folder, extractor={"model": "tsn", "rate": 1}) as pack:
        for number, name in enumerate(names):
            pack.write(FeatureRecord(name, {"rgb": _features(number, steps)}, (number % 2,)))


def _clips(folder: Path) -> dict[str, Any]:
    (folder / "clips").mkdir()
    for name in ("a", "b"):
        write_clip(folder / f"clips/{name}.mp4", moving_frames(8, height=32, width=48))
    (folder / "clips/train.list").write_text("a.mp4 0\nb.mp4 1\n")
    (folder / "clips/names.txt").write_text("run\njump\n")
    listed = f"{HERE}/clips/train.list"
    data = {"train": listed, "val": listed, "class_names": f"{HERE}/clips/names.txt"}
    model = {"name": "tsn", "num_classes": 2, "depth": 18, "width": 0.125, "num_segments": 2}
    return {"model": model, "data": {**data, "short_side": 32, "crop_size": 32}}


def _tags(folder: Path) -> dict[str, Any]:
    _pack(folder / "train", ("a", "b"), steps=5)
    _pack(folder / "val", ("c", "d"), steps=5)
    sizes = {"embedding_size": 8, "lstm_size": 8, "hidden_sizes": [8, 8]}
    streams = [{"name": "rgb", "dim": DIM}]
    model = {"name": "attention_lstm", "num_classes": 2, "streams": streams, **sizes}
    return {"model": model, "data": {"train": f"{HERE}/train", "val": f"{HERE}/val"}}


def _segments(folder: Path) -> dict[str, Any]:
    (folder / "features").mkdir()
    database: dict[str, Any] = {}
    for number, subset in enumerate(("training", "training", "validation")):
        np.save(folder / f"features/v_{number}.npy", _features(number))
        found = [{"segment": [2.3, 9.7], "label": "dig"}, {"segment": [20, 31.5], "label": "swim"}]
        database[f"v_{number}"] = {"duration": 40.0, "subset": subset, "annotations": found}
    (folder / "anet.json").write_text(json.dumps({"database": database}))
    sizes = {"num_steps": 20, "num_durations": 20, "num_samples": 4, "samples_per_bin": 2}
    data = {"annotations": f"{HERE}/anet.json", "features": f"{HERE}/features"}
    return {"model": {"name": "bmn", "feature_dim": DIM, **sizes}, "data": data}


def _captions(folder: Path) -> dict[str, Any]:
    _pack(folder / "pack", ("v_0", "v_1", "v_2"))
    one = {"duration": 20.0, "timestamps": [[0, 6], [6, 12.5]], "sentences": ["A man.", "A dog."]}
    (folder / "train.json").write_text(json.dumps({"v_0": one, "v_1": one}))
    (folder / "val.json").write_text(json.dumps({"v_2": one}))
    sizes = {"embedding_size": 8, "gru_size": 8, "decoder_size": 8, "word_size": 8}
    data = {"train": f"{HERE}/train.json", "val": f"{HERE}/val.json", "features": f"{HERE}/pack"}
    return {"model": {"name": "ets", "feature_dim": DIM, **sizes}, "data": {**data, **_ONE_WORD}}


_ONE_WORD = {"min_word_count": 1}


def _moments(folder: Path) -> dict[str, Any]:
    _pack(folder / "pack", ("v_0", "v_1"))
    (folder / "q.txt").write_text("v_0 0 4##a man runs.\nv_0 4 8##a dog.\nv_1 8 12##a cat jumps.\n")
    sizes = {"visual_dim": 3 * DIM, "sentence_dim": 16, "semantic_size": 8, "hidden_size": 8}
    windows = {"seconds": [4, 8], "overlap": 0.75, "context_seconds": 2}
    data = dict.fromkeys(("train", "val"), f"{HERE}/q.txt") | {"features": f"{HERE}/pack"}
    return {"model": {"name": "tall", **sizes}, "data": {**data, "windows": windows}}


WORLDS = {
    "clips": _clips,
    "tags": _tags,
    "segments": _segments,
    "captions": _captions,
    "moments": _moments,
}
"""What writes the data of a run into a folder, and gives its configuration."""


@contextlib.contextmanager
def _elsewhere() -> Generator[Path]:
    """A folder `case` in a new current folder."""
    with tempfile.TemporaryDirectory() as name, contextlib.chdir(name):
        folder = Path(HERE)
        folder.mkdir()
        yield folder


@cache
def world(name: str) -> dict[str, bytes]:
    """The files of a world; `run.yaml` is its configuration."""
    with _elsewhere() as folder:
        config = WORLDS[name](folder)
        config["data"] |= {"num_workers": 0}
        rate = {"optimizer": "adam", "learning_rate": 0.01}
        config["train"] = {"epochs": 1, "batch_size": 2, **rate}
        (folder / "run.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
        return files_in(folder)


@cache
def run_of(name: str) -> dict[str, bytes]:
    """A world, and in `run/` what its training wrote."""
    with _elsewhere() as folder:
        for file, content in world(name).items():
            path = folder / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            words = ["train", "--config", f"{HERE}/run.yaml", "--save-dir", f"{HERE}/run"]
            status = cli.main(words)
        assert status == 0, said.getvalue()
        return files_in(folder)


def _configs() -> list[Seed]:
    def of(name: str) -> Seed:
        files = dict(world(name))
        return Seed("run.yaml", {"run.yaml": files.pop("run.yaml")}, files)

    return [of(name) for name in WORLDS]


def _data() -> list[Seed]:
    def of(name: str) -> Seed:
        files = dict(world(name))
        return Seed("run.yaml", files, {"run.yaml": files.pop("run.yaml")})

    return [of(name) for name in WORLDS]


def _runs(*names: str, only: Sequence[str] = ()) -> list[Seed]:
    """Run folders, of which a file is damaged; the data is good."""
    seeds: list[Seed] = []
    for name in names:
        files = run_of(name)
        own = {
            path: content
            for path, content in files.items()
            if path.startswith("run/") and (not only or path in only)
        }
        fixed = {path: files[path] for path in files if path not in own}
        if only:
            fixed = _without_sums(fixed)
        seeds.append(Seed("run", own, fixed))
        if not only:  # as one who writes such a file would have it: no sum tells of a change
            seeds.append(Seed("run", _without_sums(own), fixed))
    return seeds


def _evaluated_runs() -> list[Seed]:
    """Run folders with the result of an evaluation of their weights."""
    seeds = _runs("clips", "tags")
    for one in list(seeds):
        weights = one.files["run/best.safetensors"]
        rows = [
            {"class": "run", "videos": 3, "right": 2},
            {"class": "jump", "videos": 2, "right": 0},
        ]
        facts = {
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
            "videos": 5,
            "metrics": {"top1": 0.4, "loss": 1.5},
            "classes": rows,
            "recall": [{"n": 1, "tiou": 0.5, "share": 0.25}],
        }
        told = {"run/eval/eval.json": json.dumps(facts).encode()}
        seeds.append(Seed(one.given, {**one.files, **told}, one.fixed))
    return seeds


def _without_sums(files: dict[str, bytes]) -> dict[str, bytes]:
    return {path: held for path, held in files.items() if not path.endswith("SHA256SUMS")}


def _inputs() -> list[Seed]:
    """Inputs of a good run: a video, a list, a folder."""
    fixed = run_of("clips")
    held = {name: fixed[f"clips/{name}"] for name in ("a.mp4", "train.list")}
    frames = {f"frames/{number}.jpg": _jpeg() for number in range(3)}
    jpegs = pickle.dumps(("a", 0, [_jpeg()] * 3), 2)
    return [
        Seed("a.mp4", {"a.mp4": held["a.mp4"]}, fixed),
        Seed("in.list", {"in.list": b"clips/a.mp4\nclips/b.mp4\n"}, fixed),
        Seed("folder", {"folder/x.mp4": held["a.mp4"], "folder/y.mp4": held["a.mp4"]}, fixed),
        Seed("frames", frames, fixed),
        Seed("a.pkl", {"a.pkl": jpegs}, fixed),
    ]


def _jpeg() -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(moving_frames(1, height=32, width=48)[0]).save(stream, "JPEG")
    return stream.getvalue()


def _tag_inputs() -> list[Seed]:
    fixed = run_of("tags")
    pack = {f"in/{Path(name).name}": fixed[name] for name in fixed if name.startswith("val/")}
    return [Seed("in", pack, fixed)]


# --- configurations and files of the 2019 library --------------------------------------------


def _old_configs() -> list[Seed]:
    """The configurations that the recorded numbers were made with, and those of whole pipelines."""
    found: dict[str, bytes] = {}
    for path in sorted(GOLDEN.glob("*/meta.json")):
        config: Any = json.loads(path.read_text()).get("config")
        if isinstance(config, dict) and "MODEL" in config:
            found[path.parent.name] = yaml.safe_dump(config).encode()
    for path in sorted(GOLDEN.glob("*/*.yaml")):
        found[path.stem] = path.read_bytes()
    return [Seed("old.yaml", {"old.yaml": content}) for content in found.values()]


def _old_tsn() -> Seed:
    files = dict(world("clips"))
    parts: dict[str, Any] = {
        part: {"filelist": f"{HERE}/clips/train.list", "batch_size": 2, "short_size": 32}
        for part in ("TRAIN", "VALID", "TEST", "INFER")
    }
    for part in parts.values():
        part |= {"num_reader_threads": 1, "target_size": 32}
    rates = {"epoch": 1, "learning_rate": 0.01, "learning_rate_decay": 0.1, "momentum": 0.9}
    parts["TRAIN"] |= {**rates, "l2_weight_decay": 1e-4, "total_videos": 2}
    model: dict[str, Any] = {
        "name": "TSN",
        "format": "mp4",
        "num_classes": 2,
        "seg_num": 2,
        "seglen": 1,
    }
    model |= {"num_layers": 50, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.2, 0.2, 0.2]}
    return _old({"MODEL": model, **parts}, files)


def _old_lstm() -> Seed:
    video = {"video": "a", "feature": _features(1, 5), "label": [1], "nframes": 5}
    files = {"train.pkl": pickle.dumps([video, {**video, "video": "b"}], 2)}
    files["train.list"] = f"{HERE}/train.pkl\n".encode()
    parts: dict[str, Any] = {
        part: {"filelist": f"{HERE}/train.list", "batch_size": 2}
        for part in ("TRAIN", "VALID", "TEST", "INFER")
    }
    parts["TRAIN"] |= {"epoch": 1, "learning_rate": 0.001, "decay_epochs": [5], "decay_gamma": 0.1}
    model: dict[str, Any] = {
        "name": "AttentionLSTM",
        "num_classes": 2,
        "feature_num": 1,
        "feature_dims": [DIM],
    }
    model |= {"feature_names": ["rgb"], "embedding_size": 8, "lstm_size": 8, "drop_rate": 0.5}
    return _old({"MODEL": model, **parts}, files)


def _old_tall() -> Seed:
    rng = np.random.default_rng(0)
    clips = [f"s1-d2.avi_{start}_{start + 64}" for start in (1, 33, 65, 97)]
    files: dict[str, bytes] = {}
    for clip in clips:
        stream = io.BytesIO()
        np.save(stream, rng.normal(size=DIM).astype(np.float32))
        files[f"clips/{clip}.npy"] = stream.getvalue()
    vectors = [[clip, [rng.normal(size=16).astype(np.float32)]] for clip in clips]
    files["sentences.pkl"] = pickle.dumps(vectors, 2)
    files["frames.pkl"] = pickle.dumps({"s1-d2": [1100, 29.4]}, 2)
    parts: dict[str, Any] = {
        part: {
            "batch_size": 2,
            "clip_sentvec": f"{HERE}/sentences.pkl",
            "sliding_clip_path": f"{HERE}/clips/",
            "movie_length_info": f"{HERE}/frames.pkl",
            "context_num": 1,
            "context_size": 32,
            "feats_dimen": DIM,
            "sent_vec_dim": 16,
            "semantic_size": 8,
        }
        for part in ("TRAIN", "VALID", "TEST")
    }
    parts["TRAIN"] |= {"epoch": 1, "learning_rate": 0.001, "off_size": 2, "clip_norm": 5.0}
    model = {"name": "TALL", "hidden_size": 8, "output_size": 3, "semantic_size": 8}
    model |= {"sentence_embedding_size": 16, "visual_feature_dim": 3 * DIM}
    return _old({"MODEL": model, **parts}, files)


def _old(config: dict[str, Any], files: dict[str, bytes]) -> Seed:
    return Seed("old.yaml", files, {"old.yaml": yaml.safe_dump(config, sort_keys=False).encode()})


def _swapped(seed: Seed) -> Seed:
    """The configuration is damaged, and not the data."""
    return Seed(seed.given, seed.fixed, seed.files)


def _old_data() -> list[Seed]:
    return [_old_tsn(), _old_lstm(), _old_tall()]


def _old_train(path: Path) -> None:
    words = ["--use_gpu=False", f"--config={HERE}/{path.name}", f"--save_dir={HERE}/out"]
    ran(cli_v1.train, *words, "--pretrain=none", "--overwrite")


def _inference_model(_: Path) -> None:
    """Everything up to the exporter of torch."""
    words = ["--model_name=TSN", f"--weights={HERE}/run", f"--save_dir={HERE}/out"]
    with mock.patch.object(torch.onnx, "export", _enough):
        ran(cli_v1.inference, *words)


def _old_parameters() -> list[Seed]:
    table = np.arange(6, dtype=np.float32).reshape(2, 3)
    with tempfile.TemporaryDirectory() as name:
        write_pdparams(Path(name, "w"), {"a": table, "b": table[0]})
        new = Path(name, "w").read_bytes()
    return [
        Seed("w.pdparams", {"w.pdparams": new}),
        Seed("folder", {"folder/a": record(table), "folder/b": record(table[0])}),
        Seed("run/best.safetensors", {"run/best.safetensors": _safetensors()}),
    ]


def _safetensors() -> bytes:
    return run_of("tags")["run/best.safetensors"]


# --- caches ----------------------------------------------------------------------------------

_LONG_AGO = 1_700_000_000


def _shard() -> Seed:
    (shard,) = [
        seed for seed in examples(record_formats.FORMATS) if seed.given.endswith(".tfrecord")
    ]
    (content,) = shard.files.values()
    return Seed("shard.tfrecord", {"shard.tfrecord": content * 3})


def _record_caches() -> list[Seed]:
    """The files that the places and the labels of a shard are remembered in."""
    fixed = dict(_shard().files)
    seeds: list[Seed] = []
    with _elsewhere() as folder:
        (folder / "shard.tfrecord").write_bytes(fixed["shard.tfrecord"])
        with mock.patch.dict(os.environ, VIDEOZOO_CACHE=str(folder / "cache")):
            _remembered_labels(folder / "shard.tfrecord")
        for number, path in enumerate(sorted((folder / "cache").rglob("*.npy"))):
            name = f"kept{number}.npy"
            seeds.append(Seed(name, {name: path.read_bytes()}, fixed))
    return seeds


def _remembered_labels(shard: Path) -> object:
    os.utime(shard, (_LONG_AGO, _LONG_AGO))
    return label_index(find_records(shard)).labels


def _record_cache(path: Path) -> None:
    """A damaged cache is made again."""
    shutil.rmtree(cache_folder() / "records", ignore_errors=True)
    shard = path.with_name("shard.tfrecord")
    right = _remembered_labels(shard)
    for kept in sorted((cache_folder() / "records").rglob("*.npy")):
        own = kept.read_bytes()
        kept.write_bytes(path.read_bytes())
        found = _remembered_labels(shard)
        check(found == right, found, right)
        kept.write_bytes(own)


def _fact_caches() -> list[Seed]:
    with _elsewhere() as folder:
        (folder / "a.mp4").write_bytes(b"x")
        os.utime(folder / "a.mp4", (_LONG_AGO, _LONG_AGO))
        memory = FactCache(folder)
        for number in range(20):
            memory.put(Path("/a.mp4"), _STAMP, f"q{number}", {"num_frames": number})
        memory.close()
        return [Seed("facts.sqlite", {"facts.sqlite": (folder / "facts.sqlite").read_bytes()})]


_STAMP = stamp_of(Path(__file__), frozenset())


def _fact_cache(path: Path) -> None:
    """An answer is the right one or none."""
    memory = FactCache(path.parent)
    try:
        for number in range(20):
            found = memory.get(Path("/a.mp4"), _STAMP, f"q{number}")
            check(found in (None, {"num_frames": number}), found)
            memory.put(Path("/b.mp4"), _STAMP, f"q{number}", {"num_frames": number})
    finally:
        memory.close()


# --- names -----------------------------------------------------------------------------------

_HOSTILE_NAMES = (
    b"a b.mp4\n-rf.mp4\n--help.mp4\n~.mp4\n$(touch x).mp4\n;x.mp4\n%s%n.mp4\n\x1b[31mred.mp4\n"
    b"\xff\xfe.mp4\n\xc3\xa9.mp4\ne\xcc\x81.mp4\n\xe2\x80\xaegpj.mp4\na##b 1 2.mp4\n"
    b'v_1,2.mp4\n"q".mp4\n\'.mp4\nx\ty.mp4\nCON.mp4\n.hidden.mp4\nlast.'
)


def _names() -> list[Seed]:
    fixed = run_of("clips")
    return [Seed("names.txt", {"names.txt": _HOSTILE_NAMES}, fixed)]


_SMALL = [
    *("--set", "model.depth=18", "--set", "model.width=0.125", "--set", "data.num_workers=0"),
    *("--set", "data.short_side=32", "--set", "data.crop_size=32", "--batch-size", "2"),
    *("--save-dir", f"{HERE}/trained", "--set", "model.num_segments=2"),
]


def _named(path: Path) -> None:
    """Videos with such names: checked, listed, predicted on, and trained on as classes."""
    good = (path.parent / "clips" / "a.mp4").read_bytes()
    folder, classes = path.with_name("named"), path.with_name("classes")
    folder.mkdir()
    names = [name for name in path.read_bytes().split(b"\n")[:12] if name.strip(b".")]
    for name in names:
        with contextlib.suppress(OSError, ValueError):  # not a name of a file
            base = os.fsdecode(name.replace(b"/", b"_"))
            (folder / base).write_bytes(good)
            (classes / base).mkdir(parents=True, exist_ok=True)
            (classes / base / base).write_bytes(good)
    lines = [os.fsencode(f"{HERE}/named/{one.name} 0") for one in folder.iterdir()]
    path.with_name("named.list").write_bytes(b"\n".join(lines))
    fits: list[VideozooError] = []
    for words in (
        ["check-data", f"{HERE}/named", "--no-cache", "--workers", "1"],
        ["check-data", f"{HERE}/named.list", "--no-cache", "--workers", "1"],
        ["predict", "--weights", f"{HERE}/run", f"{HERE}/named", "--csv", "--subtitles"],
        ["predict", "--weights", f"{HERE}/run", f"{HERE}/named.list"],
        ["train", "--config", "tsn", "--data", f"{HERE}/classes", *_SMALL],
    ):
        try:
            ran(cli.main, *words)
        except VideozooError as error:
            fits.append(error)
    if len(fits) == 5:
        raise fits[0]


# --- tables of formats through commands ------------------------------------------------------


def _converted(path: Path) -> None:
    refused: list[VideozooError] = []
    forms = ("activitynet", "csv", "labelstudio", "fiftyone")
    for number, form in enumerate(forms):
        flags = ["--spot-seconds", "2", "--frames-per-second", "25"]
        if path.name.startswith("EPIC"):
            flags += ["--label-from", "verb"]
        words = ["convert", f"{HERE}/{path.name}", f"{HERE}/out{number}", "--to", form]
        try:
            ran(cli.main, *words, *flags)
        except VideozooError as error:
            refused.append(error)
    if len(refused) == len(forms):
        raise refused[0]


def _prepared() -> list[Seed]:
    kinds = [one for one in record_formats.FORMATS if one.name != "pickle"]
    video = {"video": "a", "feature": _features(1, 5), "audio": _features(2, 5), "label": [1]}
    old = pickle.dumps([{**video, "nframes": 5}], 2)
    return [*examples(kinds), Seed("old.pkl", {"old.pkl": old})]


_TO_TRAIN = ("train", "--config", "FILE", "--save-dir", f"{HERE}/out")
_ON_RUN = ("--weights", "FILE")
_OFTEN = (
    *("old-configurations", "movie-lengths", "prepare-records"),
    *("record-cache", "fact-cache"),
)
"""Entries whose made cases run in the default tests, too; the others cost some seconds each."""
_PKL = {".pkl": mutate_held}
_YAML = {".yaml": mutate_settings}
_RUN = {**_YAML, ".safetensors": mutate_safetensors, ".pdparams": mutate_pickle}

_ALL: tuple[Entry, ...] = (
    Entry(
        "old-configurations",
        _old_configs,
        load_config,
        share=10,
        mutators=_YAML,
    ),
    Entry(
        "old-train", lambda: list(map(_swapped, _old_data())), _old_train, share=4, mutators=_YAML
    ),
    Entry("old-train-data", _old_data, _old_train, share=6, mutators=_PKL),
    Entry(
        "movie-lengths",
        lambda: [Seed("m.pkl", {"m.pkl": _old_tall().files["frames.pkl"]})],
        read_lengths,
        share=4,
        mutators=_PKL,
    ),
    Entry("train", _configs, command(*_TO_TRAIN), share=8, mutators=_YAML),
    Entry("train-data", _data, command(*_TO_TRAIN), share=8),
    Entry(
        "run-resume",
        lambda: _runs("clips", "tags"),
        command("train", "--resume", "FILE", "--epochs", "2"),
        share=6,
        mutators=_RUN,
    ),
    Entry(
        "run-eval",
        lambda: _runs("clips", "tags"),
        command("eval", *_ON_RUN, "--no-report"),
        share=5,
        mutators=_RUN,
    ),
    Entry(
        "run-predict",
        lambda: _runs("clips"),
        command("predict", *_ON_RUN, f"{HERE}/clips/a.mp4"),
        share=5,
        mutators=_RUN,
    ),
    Entry(
        "run-extract",
        lambda: _runs("clips"),
        command("extract", *_ON_RUN, "--output", f"{HERE}/out", f"{HERE}/clips"),
        share=3,
        mutators=_RUN,
    ),
    Entry(
        "run-share",
        _evaluated_runs,
        command("push", "FILE", f"{HERE}/out", "--unfinished"),
        share=3,
        mutators=_RUN,
    ),
    Entry(
        "run-show",
        lambda: _runs("clips"),
        command("weights", "show", "FILE", "--all"),
        share=3,
        mutators=_RUN,
    ),
    Entry(
        "inference-model",
        lambda: _runs("clips", only=("run/config.yaml", "run/best.safetensors")),
        _inference_model,
        share=2,
        mutators=_RUN,
    ),
    Entry(
        "predict",
        _inputs,
        command("predict", "--weights", f"{HERE}/run", "FILE"),
        share=6,
        mutators=_PKL,
    ),
    Entry(
        "predict-records",
        _tag_inputs,
        command("predict", "--weights", f"{HERE}/run", "FILE"),
        share=3,
    ),
    Entry(
        "extract",
        _inputs,
        command("extract", "--weights", f"{HERE}/run", "--output", f"{HERE}/out", "FILE"),
        share=4,
        mutators=_PKL,
    ),
    Entry(
        "parameters-show",
        _old_parameters,
        command("weights", "show", "FILE"),
        share=4,
        mutators=_RUN,
    ),
    Entry(
        "run-convert",
        lambda: _runs("tags", only=("run/config.yaml", "run/best.safetensors")),
        command("weights", "convert", "FILE", f"{HERE}/out.pdparams"),
        share=3,
        mutators=_RUN,
    ),
    Entry(
        "prepare-records",
        _prepared,
        command("prepare", "youtube8m", "FILE", "--output", f"{HERE}/out", "--workers", "1"),
        share=4,
        mutators=_PKL,
    ),
    Entry("convert-all", lambda: examples(segment_formats.FORMATS), _converted, share=4),
    Entry(
        "check-data-all",
        lambda: examples(
            result_formats.FORMATS,
            segment_formats.FORMATS,
            sentences.FORMATS,
            video_labels.FORMATS,
            record_formats.FORMATS,
        ),
        command("check-data", "FILE", "--no-cache", "--workers", "1"),
        share=4,
    ),
    Entry("record-cache", _record_caches, _record_cache, share=6),
    Entry("fact-cache", _fact_caches, _fact_cache, share=6),
    Entry("names", _names, _named, share=2),
)
ENTRIES = tuple(replace(one, is_slow=one.name not in _OFTEN) for one in _ALL)
"""Of commands; the names are also those of the folders in `found/`."""

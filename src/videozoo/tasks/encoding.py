"""From videos to features for models that read features: made once, kept, found again.

::

    CACHE/features/FOLDER-HASH/FINGERPRINT/     features of the videos below FOLDER by one extractor
        NAME.npz  extractor.json  videos.jsonl  see `data.features.writer`

`with_features` makes the features of `data.videos`; `as_features` those of videos to predict on.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from videozoo import __version__
from videozoo.commands import quoted
from videozoo.config import RunConfig
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.inputs import named_paths, refuse_none
from videozoo.data.annotations.list_formats import list_rows
from videozoo.data.annotations.segments import annotated_classes, possible_names
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.videos import (
    find_videos,
    is_list_name,
    read_list,
    videos_of,
)
from videozoo.data.coverage import reading_of
from videozoo.data.features.record_formats import holds_records
from videozoo.data.features.writer import STREAM, FeatureFolder
from videozoo.data.files import (
    absolute,
    begins_as_video,
    has_images,
    is_video_name,
    locate,
    videos_under,
    walk,
)
from videozoo.data.frames.video import count_frames, header_seconds
from videozoo.data.labelled_doubts import doubts
from videozoo.data.labelled_videos import (
    all_videos,
    class_names,
    has_one_class_each,
    is_drawn,
    num_classes,
    remarks,
    settled_first_label,
)
from videozoo.data.text import spelt_in
from videozoo.data.video_names import names_apart
from videozoo.encoders.base import Encoder
from videozoo.errors import ConfigError, DataError, RunError, UsageError, counted, few
from videozoo.network import named_in
from videozoo.safe_lock import hold
from videozoo.settings.moments import HASHED, MomentData
from videozoo.settings.segments import SequenceData
from videozoo.settings.shared import RawVideos
from videozoo.settings.tags import FeatureData
from videozoo.tasks.extractor import (
    Extraction,
    Extractor,
    NamedVideo,
    fill,
    identity,
    slow_line,
    still_video,
)
from videozoo.tasks.kept_encoder import (
    ADVICE,
    DEFAULT_RATE,
    encoder_at_hand,
    encoder_options,
    extractor_for,
    facts_to_store,
    feature_dim_key,
    open_encoder,
    value_at,
)
from videozoo.tasks.loading import Trained
from videozoo.tasks.measured import spread
from videozoo.tasks.requests import EncoderChoice, Unread
from videozoo.tasks.results import say_of_videos
from videozoo.types import Localisation, MomentRetrieval, Tagging
from videozoo.weights.cache import cache_folder

_ROWS_LOOKED_AT = 3
_LOOKED_AT = 50
"""Videos whose length is looked at to choose a rate."""
_BELOW = "\n  "
_RATES = (DEFAULT_RATE, 4.0, 8.0)
_MANY_VIDEOS, _MANY_PER_CLASS = 100, 10
"""From so many on, a share that is held out says how good a model is; of fewer it is too small to
tell, and each counts for learning."""
_SIDES = {"left", "right"}
_ENOUGH_VECTORS = 12
"""Vectors of a video from which their mean and deviation are steady."""


# --- features of videos, kept --------------------------------------------------------------------

_kept_in: ContextVar[Path | None] = ContextVar("_kept_in", default=None)


@contextmanager
def features_kept_in(folder: Path) -> Generator[None]:
    """Keep features in another folder than the cache, for those who remove them themselves."""
    token = _kept_in.set(folder)
    try:
        yield
    finally:
        _kept_in.reset(token)


def kept_folder(videos: Path, extractor: Extractor) -> Path:
    """Where the features of the videos below a folder are kept."""
    where = absolute(videos)
    mark = hashlib.sha256(where.encode()).hexdigest()[:8]
    name = "".join(c if c.isalnum() or c in "._-" else "_" for c in Path(where).name) or "videos"
    root = _kept_in.get() or cache_folder() / "features"
    return root / f"{name[:40]}-{mark}" / extractor.fingerprint


def named(paths: Sequence[Path], root: Path) -> list[NamedVideo]:
    """Names for videos below a folder: of the file, or where several share it of the path too.

    >>> paths = [Path("v/a.mp4"), Path("v/x/b.mp4"), Path("v/y/b.mp4")]
    >>> [one.name for one in named(paths, Path("v"))]
    ['a', 'x__b', 'y__b']
    """
    names = names_apart(paths, root=root)
    return [NamedVideo(path, name) for path, name in zip(paths, names, strict=True)]


def make_features(
    extractor: Extractor,
    videos: Sequence[NamedVideo],
    folder: Path,
    accelerator: Accelerator,
    *,
    say: Callable[[str], None],
    strict: bool = False,
) -> Extraction:
    """Make those features of videos that a folder does not hold yet.

    Videos that have changed since are done again. A killed call is continued by the next one.

    Raises:
        DataError: With `strict`, a video cannot be read.
        RunError: The folder cannot be written.
    """
    with _alone_in(folder, accelerator, say):
        return _make_features(extractor, videos, folder, accelerator, say=say, strict=strict)


@contextmanager
def _alone_in(
    folder: Path, accelerator: Accelerator, say: Callable[[str], None]
) -> Generator[None]:
    """Wait until no other command makes features in the same folder.

    Raises:
        RunError: The folder cannot be written.
    """
    if not accelerator.is_main_process:
        yield  # the main process waits for all
        return
    waiting = f"waiting for another command that makes features in {folder}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock = hold(folder.with_name(f"{folder.name}.lock"), lambda: say(waiting))
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def _make_features(
    extractor: Extractor,
    videos: Sequence[NamedVideo],
    folder: Path,
    accelerator: Accelerator,
    *,
    say: Callable[[str], None],
    strict: bool,
) -> Extraction:
    facts = facts_to_store(extractor, [video.path for video in videos])
    store = FeatureFolder(folder, "npz", facts)
    if accelerator.is_main_process:
        store.prepare(made_with=__version__)
    accelerator.wait_for_everyone()
    store.read()
    missing = [video for video in videos if not _is_done(video, store)]
    kept = len(videos) - len(missing)
    if missing:
        say(
            f"features: {extractor.title}, {extractor.rate:g} per second, of "
            f"{counted(len(missing), 'video')}" + (f" ({kept} made already)" if kept else "")
        )
    if accelerator.is_main_process:  # what cannot be read any more must not leave old features
        store.forget(video.name for video in missing)
    done = fill(extractor, store, missing, accelerator, strict=strict, say=say)
    done.kept = kept
    again = {video.name for video in missing}
    done.damaged += [
        f"{video.path}: {damage}"
        for video in videos
        if video.name not in again and (damage := store.done[video.name].get("damage"))
    ]
    for video in videos:
        if video.name not in again:
            done.slow += slow_line(video, store.done[video.name])
            done.still += still_video(video, store.done[video.name])
    if done.videos:
        speed = done.video_seconds / max(done.wall_seconds, 1e-9)
        say(
            f"features: {counted(done.vectors, 'vector')} of {extractor.dim} from "
            f"{done.video_seconds:.0f} s of video in {done.wall_seconds:.0f} s "
            f"({speed:.1f} s per second); kept in {folder}"
        )
    return done


def _is_done(video: NamedVideo, store: FeatureFolder) -> bool:
    line = store.done.get(video.name)
    if line is None:
        return False
    mine = identity(video.path)
    return line.get("path") == absolute(video.path) and all(
        line.get(key) == value for key, value in mine.items()
    )


# --- training and evaluation ---------------------------------------------------------------------


def with_features(
    config: RunConfig,
    accelerator: Accelerator,
    say: Callable[[str], None],
    *,
    trained: Trained | None = None,
    on_encoders: Callable[[Sequence[Encoder]], None] = lambda _encoders: None,
) -> RunConfig:
    """Make the features of `data.videos`, and fit the model's settings to them.

    Configurations without videos themselves are returned as they are.

    Args:
        config: The run.
        accelerator: Where to compute.
        say: Told what is done.
        trained: The model, if it has learnt already: then nothing of it is changed, and a tagger's
            features are made as those it learnt from.
        on_encoders: Handed what makes the features.

    Returns:
        The configuration with `data.features`, the found encoders, their rate, and the dimensions
        of the model.

    Raises:
        DataError: There are no videos, or too many cannot be read.
        VideozooError: The encoder cannot be loaded.
    """
    data = config.data
    if isinstance(data, FeatureData) and data.is_raw:
        return _with_labelled_features(config, accelerator, say, trained, on_encoders)
    if not isinstance(data, RawVideos) or data.videos is None:
        return config
    paths = videos_at(data.videos)
    learnt = data.annotations if isinstance(data, SequenceData) else getattr(data, "train", None)
    if trained is None and learnt is not None and not learnt.exists():
        raise DataError(  # told before features are made, which takes long
            f"{learnt}: no such file; what is to be learnt of {data.videos}? --annotations FILE"
        )
    root = data.videos if data.videos.is_dir() else data.videos.parent
    videos = _annotated(named(paths, root), data, say)
    given: Path | None = getattr(data, "features", None)
    if trained is not None:
        extractor = extractor_for(trained, EncoderChoice(), accelerator, say)
        on_encoders(extractor.encoders)
        changes = _made_for(data, extractor, videos, data.videos, given, accelerator, say)
        return config.replace("data.videos", changes)
    extractor = _configured_extractor(config, data, data.rate or DEFAULT_RATE, accelerator, say)
    on_encoders(extractor.encoders)
    changes = _made_for(data, extractor, videos, data.videos, given, accelerator, say)
    changes |= {**_model_dims(config, extractor.dim, say), **_model_classes(config, say)}
    if isinstance(data, MomentData) and data.sentences.encoder == HASHED:
        say(
            "sentences become vectors by the built-in encoder (data.sentences.encoder=hashed; the "
            "text tower of a CLIP or SigLIP model can be named there)"
        )
    return config.replace("data.videos", changes)


def _annotated(
    videos: Sequence[NamedVideo], data: RawVideos, say: Callable[[str], None]
) -> Sequence[NamedVideo]:
    """The videos that annotations name; all, where that cannot be told.

    Raises:
        DataError: They name none of them; said before features are made, which takes long.
    """
    wanted: set[str] = set()
    files = [path for path in _annotation_files(data) if path.exists()]
    for path in files:
        names = _names_in(path, data)
        if names is None:
            return videos
        wanted.update(names)
    if not wanted:
        return videos
    found = [one for one in videos if spelt_in(one.name, wanted) is not None]
    if not found:
        raise DataError(
            f"{data.videos}: none of the {counted(len(videos), 'video')} here, such as "
            f"{videos[0].name!r}, is annotated in {few(list(map(str, files)))}, which names "
            f"{few(sorted(wanted))}; a file is called as its video there, with any ending"
        )
    if len(found) < len(videos):
        say(
            f"note: {len(videos) - len(found):,} of {counted(len(videos), 'video')} in "
            "{data.videos} are not annotated and left out"
        )
    return found


def _annotation_files(data: RawVideos) -> list[Path]:
    if isinstance(data, SequenceData):
        found = (data.annotations, data.val_annotations, data.test_annotations)
    else:
        found = tuple(getattr(data, part, None) for part in ("train", "val", "test"))
    return list(dict.fromkeys(path for path in found if path is not None))


def _names_in(path: Path, data: RawVideos) -> Collection[str] | None:
    """Names of the videos in a file of annotations; None if its format does not tell alone."""
    try:
        if isinstance(data, SequenceData):
            return possible_names(path)
        return read_timed_sentences(
            path, need_text=False, need_times=False, whole_videos=True
        ).videos
    except DataError:  # who reads it as a whole says what is wrong
        return None


def with_own_videos(config: RunConfig, path: Path) -> RunConfig:
    """Point a tagger at a folder with one folder of videos per class, or at a list with classes.

    Raises:
        UsageError: It holds features, or the model reads no videos in such a form.
    """
    if not isinstance(config.data, FeatureData):
        raise UsageError(f"--data is for folders of videos; not for {config.spec.title}")
    if path.exists() and holds_records(path):
        raise UsageError(
            f"--data is for videos, and {path} holds features: --set data.train={path}"
        )
    freed = ("train", "val", "test", "class_names", "features", "labels")
    changes: dict[str, Any] = {f"data.{key}": None for key in freed}
    return config.replace("--data", {"data.videos": path, "predict.inputs": None, **changes})


def with_other_videos(config: RunConfig, path: Path | None) -> RunConfig:
    """Evaluate a tagger on the videos, or the features, that `--data` names."""
    data = config.data
    if path is None or not isinstance(data, FeatureData) or not data.is_raw:
        return config
    changes: dict[str, Any] = dict.fromkeys(("data.train", "data.val", "data.test"))
    changes |= {"data.videos": None, "data.features": None}
    if path.exists() and holds_records(path):
        changes |= {"data.encoder": [], "data.labels": None, "data.test": path}
    else:  # all of them, unless they have parts
        changes |= {"data.videos": path, "data.val_share": 1.0}
    return config.replace("--data", changes)


def _with_labelled_features(
    config: RunConfig,
    accelerator: Accelerator,
    say: Callable[[str], None],
    trained: Trained | None,
    on_encoders: Callable[[Sequence[Encoder]], None],
) -> RunConfig:
    """The same for taggers, whose videos have classes and may lie in several places."""
    data: FeatureData = config.data
    source = data.videos or data.train or data.val or data.test
    if source is None:
        raise ConfigError("data.videos is not set; name a folder or a list of videos: --videos")
    for line in remarks(data):
        say(f"note: {line}")
    paths = [Path(absolute(path)) for path in all_videos(data)]
    for line in (*doubts(data), *_hidden_by_mirror(data)) if trained is None else ():
        say(f"note: {line}")
    root = Path(absolute(source if source.is_dir() else source.parent))
    if trained is not None:
        extractor = extractor_for(trained, EncoderChoice(), accelerator, say)
    else:
        if not data.encoder:
            data = data.model_copy(update={"encoder": (_encoder_at_hand(say),)})
        rate = data.rate or _rate_for(paths, say)
        extractor = _configured_extractor(config, data, rate, accelerator, say)
    on_encoders(extractor.encoders)
    given = data.features if trained is None else None
    changes = _made_for(data, extractor, named(paths, root), source, given, accelerator, say)
    if trained is None:
        changes |= {**_model_dims(config, extractor.dim, say), **_model_classes(config, say)}
        changes |= _tagger_loss(config, data, say)
        changes["data.first_label"] = settled_first_label(data)
        changes |= _held_out_share(config, data, len(paths), say)
    return config.replace("data.videos", changes)


def _hidden_by_mirror(data: FeatureData) -> list[str]:
    """What to say of classes that a mirror makes alike."""
    if not data.mirror:
        return []
    sided = [name for name in class_names(data) or () if _SIDES.intersection(_words(name))]
    if not sided:
        return []
    return [
        f"data.mirror hides left and right, which may be what {few(map(repr, sided))} "
        f"{'differs' if len(sided) == 1 else 'differ'} by; without it: --set data.mirror=false"
    ]


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.split(r"[^a-zA-Z]+|(?<=[a-z])(?=[A-Z])", name)}


def _tagger_loss(
    config: RunConfig, data: FeatureData, say: Callable[[str], None]
) -> dict[str, Any]:
    """Whether classes exclude one another, where the configuration leaves it to the labels."""
    if config.train.loss != "auto":  # pyright: ignore[reportAttributeAccessIssue]
        return {}
    one = has_one_class_each(data)
    say(
        "train.loss is softmax: each video is of one class"
        if one
        else "train.loss is sigmoid: a video may be of several classes"
    )
    return {"train.loss": "softmax" if one else "sigmoid"}


def _held_out_share(
    config: RunConfig, data: FeatureData, total: int, say: Callable[[str], None]
) -> dict[str, Any]:
    """Nothing is held out of few videos, where cross-validation judges the model anyway."""
    task = config.spec.task
    is_asked = config.origin_of("data.val_share") != ""
    if not isinstance(task, Tagging) or not task.is_solved or is_asked or not is_drawn(data):
        return {}
    classes = num_classes(data)
    if total >= max(_MANY_VIDEOS, _MANY_PER_CLASS * classes):
        return {}
    say(
        f"{counted(total, 'video')} of {counted(classes, 'class')} are few: all are learnt from, "
        "and cross-validation judges (to hold some out: a folder `val`, or --set "
        "data.val_share=0.2)"
    )
    return {"data.val_share": 0.0}


def _configured_extractor(
    config: RunConfig,
    data: RawVideos,
    rate: float,
    accelerator: Accelerator,
    say: Callable[[str], None],
) -> Extractor:
    options = encoder_options(data.encoder_layer, data.encoder_pooling, data.encoder_precision)
    if not data.encoder:
        raise ConfigError(f"data.videos needs an encoder, which makes features of them; {ADVICE}")
    named_as = " ".join(f"--encoder {quoted(text)}" for text in data.encoder)
    named_by = config.only_named_in("data.encoder")
    with named_in(named_by, instead=named_as, may_be_code=config.is_of_run):
        encoders = [open_encoder(text, options) for text in data.encoder]
    for encoder in encoders:
        for note in encoder.notes:
            say(f"note: {note}")
    return Extractor(
        encoders,
        rate=rate,
        window_seconds=data.encoder_window_seconds,
        mirror=data.mirror,
        accelerator=accelerator,
    )


def _made_for(
    data: RawVideos,
    extractor: Extractor,
    videos: Sequence[NamedVideo],
    source: Path,
    given: Path | None,
    accelerator: Accelerator,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Make features of videos that lie at `source`; the settings of `data` that follow."""
    folder = given or kept_folder(source, extractor)
    done = make_features(extractor, videos, folder, accelerator, say=say)
    _refuse_many_bad(done, len(videos), data, say)
    say_of_videos(say, done, len(videos), extractor.rate)
    only = {"data.streams": []} if getattr(data, "streams", ()) else {}  # they are in one array
    return only | {
        "data.features": folder,
        "data.encoder": [encoder.reference for encoder in extractor.encoders],
        "data.rate": extractor.rate,
    }


def _encoder_at_hand(say: Callable[[str], None]) -> str:
    """The encoder that is taken where none is named: one that needs no download.

    Raises:
        ConfigError: There is none.
    """
    name = encoder_at_hand()
    if name is None:
        raise ConfigError(f"data.videos needs an encoder, which makes features of them; {ADVICE}")
    say(f"no --encoder: taking {name} (`videozoo encoders` lists others)")
    return name


def _rate_for(paths: Sequence[Path], say: Callable[[str], None]) -> float:
    """Vectors per second, so that most videos have enough of them."""
    lengths = sorted(filter(None, map(header_seconds, spread(paths, _LOOKED_AT))))
    if not lengths:
        return DEFAULT_RATE
    typical = lengths[len(lengths) // 2]
    rate = next((rate for rate in _RATES if rate * typical >= _ENOUGH_VECTORS), _RATES[-1])
    if rate != DEFAULT_RATE:
        say(f"note: videos of about {typical:.1f} s: data.rate is {rate:g} vectors per second")
    return rate


def videos_at(path: Path, missing: Callable[[str], None] | None = None) -> list[Path]:
    """The videos that a path means: a folder, a file or a list.

    Args:
        path: What the user names.
        missing: Told each video of a list that is not there; by default that is an error.

    Raises:
        DataError: There are none.
    """
    if is_list_name(path):
        entries = read_list(
            path,
            root=None,
            labels="optional",
            missing=missing or "error",
            count_frames=count_frames,
            several="as listed",
        )
        return [entry.path for entry in videos_of(entries)]
    return [entry.path for entry in find_videos(path)]


def _refuse_many_bad(done: Extraction, total: int, data: Any, say: Callable[[str], None]) -> None:
    if not done.skipped:
        return
    share = len(done.skipped) / max(total, 1)
    shown = few(done.skipped, between="\n  ")
    if share > data.bad_video_share:
        raise DataError(
            f"{len(done.skipped):,} of {counted(total, 'video')} cannot be read, more than "
            f"data.bad_video_share={data.bad_video_share:g} (remove them, or raise it):\n  {shown}"
        )
    say(f"left out: {len(done.skipped):,} of {counted(total, 'video')} cannot be read:\n  {shown}")


def _model_dims(config: RunConfig, dim: int, say: Callable[[str], None]) -> dict[str, Any]:
    """The settings of the model that follow from the length of a vector."""
    key = feature_dim_key(config)
    value: Any = dim
    if isinstance(config.spec.task, MomentRetrieval):
        value = 3 * dim  # a window, what comes before, what comes after
    elif isinstance(config.spec.task, Tagging):
        value = _one_stream(config, dim)
    elif value_at(config, key) is None:
        return {}
    if value_at(config, key) != value:
        say(f"note: {key} is {json.dumps(value)}, as the features are")
    return {key: value}


def _one_stream(config: RunConfig, dim: int) -> list[dict[str, Any]]:
    """The stream that a tagger reads; what else it says of its first stream stays."""
    first: dict[str, Any] = value_at(config, feature_dim_key(config))[0]
    return [first | {"name": STREAM, "dim": dim}]


def _model_classes(config: RunConfig, say: Callable[[str], None]) -> dict[str, Any]:
    """The number of classes of a model that names what it finds: those of the data."""
    task, data, with_background = config.spec.task, config.data, ""
    if isinstance(data, FeatureData):
        number, names = num_classes(data), class_names(data)
    elif isinstance(task, Localisation) and task.decides == "map" and data.annotations is not None:
        if data.class_names is not None:
            names = read_class_names(data.class_names)
        else:
            names = annotated_classes(
                data.annotations, ignored_classes=data.ignored_classes, reading=reading_of(data)
            )
        number = len(names) + task.background
        with_background = ", the background among them" if task.background else ""
    else:
        return {}
    is_asked = config.origin_of("model.num_classes").startswith("--")
    if config.model.num_classes == number or is_asked:  # a check explains a mismatch
        return {}
    say(
        f"note: model.num_classes is {number}{with_background}"
        + (f": {few(names)}" if names else "")
    )
    return {"model.num_classes": number}


# --- prediction ----------------------------------------------------------------------------------


def holds_videos(inputs: Sequence[str]) -> bool:
    """Whether some inputs name videos themselves, and not features or sentences.

    Raises:
        DataError: The only input is not there.
    """
    return any(all(map(_is_video, paths)) for paths in named_paths(inputs).of_input.values())


def _is_video(path: Path) -> bool:
    if path.is_dir():
        return any(map(is_video_name, walk(path))) or bool(videos_under(path)) or has_images(path)
    if is_video_name(path) or begins_as_video(path):
        return True
    return is_list_name(path) and _lists_videos(path)


def _lists_videos(path: Path) -> bool:
    try:
        rows = list(islice(list_rows(path, None), _ROWS_LOOKED_AT))
    except DataError:
        return False
    if any(row.search for row in rows):  # lists of data sets of videos
        return True
    found = [locate(Path(row.path), None, path.parent) for row in rows]
    return any(each is not None and _is_clip(each) for each in found)


def _is_clip(path: Path) -> bool:
    return has_images(path) if path.is_dir() else is_video_name(path)


@dataclass(frozen=True)
class EncodedInputs:
    """Inputs in which features stand in place of videos."""

    inputs: tuple[str, ...]
    videos: Mapping[str, Path]
    """Path of a file of features to the video that it was made of."""
    failed: tuple[str, ...] = ()
    """A line per video that cannot be used."""


def as_features(
    inputs: Sequence[str],
    trained: Trained,
    choice: EncoderChoice,
    accelerator: Accelerator,
    *,
    strict: bool = False,
    say: Callable[[str], None] = lambda _line: None,
    extractor: Callable[[], Extractor] | None = None,
    among: Sequence[Path] = (),
    unread: Unread | None = None,
) -> EncodedInputs:
    """Put features in place of the videos among the inputs of a model that reads features.

    Equal encoders of several models find the features that the first of them made.

    Args:
        inputs: Videos, folders, patterns and lists of them, beside inputs that the model reads
            itself.
        trained: The model.
        choice: See `extractor_for`.
        accelerator: Where to compute.
        strict: Raise for the first video that cannot be read.
        say: Told what is done.
        extractor: Opens what makes the features; by default by `choice`.
        among: Other videos from whose names those of these videos must differ.
        unread: What other models of the same call could not read.

    Returns:
        One file of features per video, in the order of the inputs.

    Raises:
        DataError: An input does not exist, or no video can be read.
        VideozooError: The encoder is not known, or is another one.
    """
    named = named_paths(inputs, strict=strict)
    absent = list(named.absent)

    def missing(line: str) -> None:
        if strict:
            raise DataError(line)
        absent.append(line)

    found = {
        text: [video for path in paths for video in videos_at(path, missing)]
        if all(map(_is_video, paths))
        else None
        for text, paths in named.of_input.items()
    }
    refuse_none([text for text, videos in found.items() if videos != []], absent)
    listed = [video for videos in found.values() for video in videos or ()]
    unread = unread or Unread()
    unread.tell(absent, say)
    if not listed:
        return EncodedInputs(tuple(found), {}, tuple(absent))
    opened = extractor() if extractor else extractor_for(trained, choice, accelerator, say)
    alone = len({absolute(video) for video in listed}) + len(absent) == 1
    made, lost = _made(listed, opened, accelerator, strict or alone, say, among, unread)
    unread.tell(lost, say)
    failed = [*absent, *lost]
    texts: dict[str, None] = {}
    for text, videos in found.items():
        places = map(absolute, videos or ())
        here = [str(made[place].features) for place in places if place in made]
        texts |= dict.fromkeys([text] if videos is None else here)
    if failed and not texts:
        raise DataError(
            failed[0]
            if len(failed) == 1
            else f"no video can be read:\n  {few(failed, between=_BELOW)}"
        )
    videos = {str(each.features): each.video for each in made.values()}
    return EncodedInputs(tuple(texts), videos, tuple(failed))


def all_inputs(inputs: Sequence[str]) -> list[Path]:
    """All videos that some inputs mean, as far as they can be found."""
    found: list[Path] = []
    for text in inputs:
        try:
            paths = filter(_is_video, named_paths([text]).of_input.get(text, []))
            found += [video for path in paths for video in videos_at(path, _skip)]
        except DataError:  # whoever uses the input says what is wrong
            continue
    return found


def _skip(_line: str) -> None:
    pass


@dataclass(frozen=True)
class _Made:
    video: Path
    features: Path


def _made(
    videos: Sequence[Path],
    extractor: Extractor,
    accelerator: Accelerator,
    strict: bool,
    say: Callable[[str], None],
    among: Sequence[Path],
    unread: Unread,
) -> tuple[dict[str, _Made], list[str]]:
    """The features of each readable video by its absolute path, and a line per other video."""
    made: dict[str, _Made] = {}
    others: list[str] = []
    by_folder: dict[Path, list[NamedVideo]] = {}
    named = _named_apart(videos, among)
    for video in named:
        if _key(extractor, video) not in unread.lines:
            by_folder.setdefault(video.path.parent, []).append(video)
    for parent, here in by_folder.items():
        folder = kept_folder(parent, extractor)
        done = make_features(extractor, here, folder, accelerator, say=say, strict=strict)
        say_of_videos(say, done, len(here), extractor.rate)
        store = FeatureFolder(folder, "npz", extractor.facts)
        store.read()
        for one in here:
            if _is_done(one, store):
                features = folder / str(store.done[one.name]["file"])
                made[absolute(one.path)] = _Made(one.path, features)
        for line in done.skipped:
            of_it = (one for one in here if line.startswith(f"{one.path}:"))
            if (video := next(of_it, None)) is None:
                others.append(line)
            else:
                unread.lines[_key(extractor, video)] = line
    keys = (_key(extractor, video) for video in named)
    return made, [*(unread.lines[key] for key in keys if key in unread.lines), *others]


def _key(extractor: Extractor, video: NamedVideo) -> str:
    return f"{extractor.fingerprint} {absolute(video.path)}"


def _named_apart(videos: Sequence[Path], among: Sequence[Path]) -> list[NamedVideo]:
    """Each video once, with names that tell them apart, from those of `among` too."""
    spelled: dict[str, Path] = {}
    for video in (*videos, *among):
        spelled.setdefault(absolute(video), video)
    names = dict(zip(spelled, names_apart(list(spelled.values())), strict=True))
    asked = dict.fromkeys(map(absolute, videos))
    return [NamedVideo(spelled[place], names[place]) for place in asked]

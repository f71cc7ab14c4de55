"""A model out of a bundle: videos in, answers out."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from videozoo import __version__
from videozoo.data.annotations.videos import find_videos
from videozoo.data.files import absolute, videos_under
from videozoo.data.video_names import names_apart
from videozoo.errors import DataError, RunError, UsageError
from videozoo.results import Result, VideoMoments, ranked_moments
from videozoo.runtime.answer import Answer
from videozoo.runtime.bundle import Bundle, open_bundle
from videozoo.runtime.captions import Describer
from videozoo.runtime.clips import ClipModel
from videozoo.runtime.features import VideoEncoder
from videozoo.runtime.moments import Finder
from videozoo.runtime.segments import Localiser
from videozoo.runtime.tags import Tagger

Video = str | Path


@dataclass
class Answers:
    """What a bundle says of some videos."""

    rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """As in `predictions.json`."""
    results: list[Result] = field(default_factory=list[Result])
    skipped: list[str] = field(default_factory=list[str])
    """A line per video that cannot be used."""
    damaged: list[str] = field(default_factory=list[str])
    """A line per damaged video that could be read all the same."""


class BundleModel:
    """A model with all that it needs, run by onnxruntime alone; from `load`.

    Attributes:
        title: As the paper writes it.
        task: What it does: `classification`, `tagging`, `localisation`, `two_stage_localisation`,
            `captioning` or `moments`.
        class_names: By number of the class; empty where answers have no classes.
    """

    def __init__(self, bundle: Bundle) -> None:
        """Open the graphs of a bundle.

        Raises:
            WeightsError: One is damaged, or other than described.
        """
        about = bundle.about
        self.folder = bundle.folder
        self.name, self.title = about.text("model"), about.text("title")
        self.task: str = about.choice("task", *_TASKS)
        self.class_names = about.texts("class_names")
        self.weights_sha256 = about.section("weights").text("sha256")
        opened = _TASKS[self.task](bundle, self.class_names)
        self._finder = opened if isinstance(opened, Finder) else None
        self._answer: Any = opened

    def predict(
        self,
        videos: Video | Sequence[Video],
        *,
        sentences: str | Sequence[str] = (),
        strict: bool = True,
    ) -> Any:
        """Answer for videos, as `videozoo predict` with the run does.

        Args:
            videos: Path of a video, or several; a folder of images is a video, another folder
                stands for the videos in it.
            sentences: What to look for, with a model that finds moments.
            strict: Raise for the first that cannot be used; otherwise a warning names it.

        Returns:
            See `videozoo.results`; for several videos, or a folder of them, a list. For several
            sentences, a list of the results of each sentence in each video.

        Raises:
            DataError: A video is not there, or cannot be used.
            UsageError: Sentences are missing, or not for this model.
        """
        one_video = isinstance(videos, str | Path)
        one_sentence = self._finder is None or isinstance(sentences, str)
        paths = [videos] if isinstance(videos, str | Path) else videos
        texts = [sentences] if isinstance(sentences, str) else sentences
        found = self.answers(paths, sentences=texts, strict=strict or one_video)
        for line in found.skipped:
            warnings.warn(line, stacklevel=2)
        is_one = one_video and one_sentence and not any(map(videos_under, map(Path, paths)))
        return found.results[0] if is_one else found.results

    def answers(
        self, videos: Sequence[Video], *, sentences: Sequence[str] = (), strict: bool = True
    ) -> Answers:
        """The same, with rows for `predictions.json`, and what could not be read.

        Raises:
            DataError: With `strict`, a video cannot be used; or none can.
            UsageError: Sentences are missing, or not for this model.
        """
        if bool(sentences) != (self._finder is not None):
            raise UsageError(
                f"{self.title} looks for sentences; name some: --sentence TEXT"
                if self._finder is not None
                else f"--sentence is for models that find moments; not for {self.title}"
            )
        answer = self._asked(sentences)
        made = Answers()
        paths = self._found(videos, made, strict)
        names = [str(path) for path in paths]
        if self.task != "classification":
            names = names_apart(paths)
        pairs = list(zip(paths, names, strict=True))
        if self.task == "captioning":  # in the order in which `predict` finds their features
            pairs.sort(key=lambda pair: pair[1])
        for path, name in pairs:
            try:
                one = answer(path, name)
            except DataError as error:
                if strict:
                    raise
                made.skipped.append(str(error))
                continue
            made.rows += one.rows
            made.results += one.results
            made.damaged += [f"{path}: {one.damage}"] if one.damage else []
        if made.skipped and not made.rows:
            raise DataError("\n  ".join(made.skipped))
        return made

    def _found(self, videos: Sequence[Video], made: Answers, strict: bool) -> list[Path]:
        """Each video once, in order; folders stand for the videos in them."""
        paths: dict[str, Path] = {}
        for video in videos:
            try:
                for entry in find_videos(Path(video)):
                    paths.setdefault(absolute(entry.path), entry.path)
            except DataError as error:
                if strict:
                    raise
                made.skipped.append(str(error))
        return list(paths.values())

    def _asked(self, sentences: Sequence[str]) -> Callable[[Path, str], Answer]:
        finder = self._finder
        if finder is None:
            return self._answer
        vectors = finder.encoded(sentences)
        return lambda path, name: finder(path, name, sentences, vectors)

    def facts(
        self, videos: Sequence[Video], found: Answers, *, sentences: Sequence[str] = ()
    ) -> dict[str, Any]:
        """The content of `predictions.json`."""
        asked = {"sentences": list(sentences)} if sentences else {}
        return {
            "model": self.name,
            "weights": str(self.folder),
            "weights_sha256": self.weights_sha256,
            "videozoo": __version__,
            "inputs": [str(video) for video in videos],
            **asked,
            **self._of_moments(),
            "predictions": found.rows,
            **self._ranked(found),
            "skipped": found.skipped,
            **({"damaged": found.damaged} if self.task == "classification" else {}),
            "files": list[str](),
        }

    def _of_moments(self) -> dict[str, Any]:
        if self._finder is None:
            return {}
        return {"unit": "seconds", "least_score": self._finder.least_score}

    def _ranked(self, found: Answers) -> dict[str, Any]:
        results = [one for one in found.results if isinstance(one, VideoMoments)]
        if len({one.video for one in results}) < 2:
            return {}
        return {"ranked": [one.to_dict() for one in ranked_moments(results)]}


def _clips(bundle: Bundle, names: Sequence[str]) -> Any:
    return ClipModel(bundle, bundle.about.section("clips"), names)


def _encoder(bundle: Bundle) -> VideoEncoder:
    return VideoEncoder(bundle, bundle.about.section("features"))


def _tagger(bundle: Bundle, names: Sequence[str]) -> Any:
    return Tagger(bundle, bundle.about.section("tags"), _encoder(bundle), names)


def _localiser(bundle: Bundle, names: Sequence[str]) -> Any:
    return Localiser(bundle, bundle.about.section("segments"), _encoder(bundle), names)


def _describer(bundle: Bundle, _names: Sequence[str]) -> Any:
    return Describer(bundle, bundle.about.section("captions"), _encoder(bundle))


def _finder(bundle: Bundle, _names: Sequence[str]) -> Any:
    return Finder(bundle, bundle.about.section("moments"), _encoder(bundle))


_TASKS: dict[str, Callable[[Bundle, Sequence[str]], Any]] = {
    "classification": _clips,
    "tagging": _tagger,
    "localisation": _localiser,
    "two_stage_localisation": _localiser,
    "captioning": _describer,
    "moments": _finder,
}


def load(folder: Video) -> BundleModel:
    """Open a bundle that `videozoo export --bundle` wrote.

    Args:
        folder: The bundle.

    Raises:
        WeightsError: It is none, or damaged: a file is not as its sum says.
        RunError: onnxruntime is not installed.
    """
    if find_spec("onnxruntime") is None:
        raise RunError("onnxruntime is not installed, which runs bundles: pip install onnxruntime")
    return BundleModel(open_bundle(Path(folder)))

"""The base class of trained models in Python, and the reading of their inputs.

`Predictor` is the base class of what `videozoo.load` returns. The rest turns files, arrays and
mappings, in any mixture, into the inputs that the tasks read.
"""

from __future__ import annotations

import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal, SupportsIndex, TypeVar, cast

import numpy as np
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from videozoo.commands import words_for_python
from videozoo.config import RunConfig
from videozoo.data.features.records import FeatureRecord, RecordArrays, RecordSet
from videozoo.data.frames.own_reader import FrameReader, as_video_reader, is_reader
from videozoo.data.frames.video import FrameArray, VideoReader
from videozoo.data.video_names import names_apart, video_name
from videozoo.errors import ConfigError, DataError, UsageError, counted
from videozoo.models import is_model_file, model_spec
from videozoo.results import Result
from videozoo.tasks.encoding import all_inputs, as_features
from videozoo.tasks.extractor import Extractor
from videozoo.tasks.kept_encoder import extractor_for
from videozoo.tasks.loading import Trained
from videozoo.tasks.requests import ConfigSource, EncoderChoice, ExportRequest
from videozoo.tasks.run import export_trained
from videozoo.weights.exported import exported_kind

R = TypeVar("R")
Video = str | Path | FrameReader | NDArray[np.uint8] | Tensor
"""A path, a video from `open_video`, frames uint8 (T, H, W, 3), RGB, or a reader of your own: an
object with `num_frames`, `read(indices)`, and where seconds count `frames_per_second`."""
Array = NDArray[Any] | Tensor
Features = (
    str | Path | FeatureRecord | Array | Mapping[str, Array | Mapping[str, Array]] | FrameReader
)
"""Features: a path; an array (T, dim) of one video; a dict of its streams; or a dict of videos by
name, each an array or a dict of streams. In place of features also videos: a path, a video from
`open_video`, or a reader of your own (see `Video`) with `frames_per_second`; their features are
made as those of the training were."""


class Predictor(ABC):
    """A trained model, ready to use. Made by `videozoo.load`."""

    config: RunConfig
    """The configuration of its training."""
    class_names: Sequence[str] = ()
    """The name of each class, in the order of the outputs; empty for models without classes."""

    def __init__(self, trained: Trained, network: Any) -> None:
        self._trained, self._network = trained, network
        self._encoding: Extractor | None = None

    @property
    def module(self) -> nn.Module:
        """The network, in evaluation mode; batch norms may be folded into convolutions.

        Raises:
            AttributeError: The model is an exported graph.
        """
        if not isinstance(self._network, nn.Module):
            raise AttributeError(
                f"{self._trained.path} is an exported graph and has no module; load the weights "
                "it was made from"
            )
        return self._network

    @property
    def vectors_per_second(self) -> float | None:
        """The rate of the features that the model learnt from; None where it is not known."""
        features = self._trained.features or {}
        rate = features.get("visual", features).get("rate")
        return float(rate) if isinstance(rate, int | float) and rate > 0 else None

    @abstractmethod
    def predict(self, *args: Any, **kwargs: Any) -> Sequence[Result]:
        """Predict for videos; the class of each task says what it takes.

        Returns:
            One result per video, in the order of the inputs.
        """

    def embed(self, video: Video) -> NDArray[np.float32]:
        """Turn a video into one vector, the input of the classifier of a clip model.

        Raises:
            ConfigError: The model has no such vector.
        """
        raise ConfigError(
            f"{self._trained.path}: {self.config.spec.title} reads features and makes no vector "
            "of a video; a clip model does (tsn, tsm, stnet, nonlocal)"
        )

    @words_for_python()
    def export(
        self,
        path: str | Path | None = None,
        *,
        format: Literal["onnx", "torch-export"] | None = None,
        video: str | Path | None = None,
        overwrite: bool = False,
        check: bool = True,
    ) -> Path:
        """Write the model as a file that runs without its Python code; `videozoo.load` reads it.

        Args:
            path: By default beside the weights, with their name and the format's suffix.
            format: By default what the suffix of `path` says, else ONNX.
            video: A video or a folder of videos on which the graph is compared with the model.
            overwrite: Replace a file that is there.
            check: Compare the graph's scores with the model's before the file is kept.

        Returns:
            The file that was written; the first if there are two.

        Raises:
            RunError: Models of this task cannot be exported, or the scores are not the model's.
        """
        target = None if path is None else Path(path)
        if target is not None and exported_kind(target) is None:
            raise UsageError(
                f"export: {target}: the name tells no format; it ends in .onnx or .pt2"
            )
        request = ExportRequest(
            source=ConfigSource(),
            weights=str(self._trained.path),
            output=target,
            format=format,
            video=None if video is None else Path(video),
            overwrite=overwrite,
            check=check,
        )
        return export_trained(self._trained, request)

    def with_features(
        self, videos: Sequence[Any], accelerator: Accelerator, *, strict: bool
    ) -> tuple[list[Any], list[str]]:
        """Put features in place of the videos among some inputs, for models that read features.

        Args:
            videos: As the caller gave them.
            accelerator: Where to compute.
            strict: Raise if any video cannot be read.

        Returns:
            The inputs, and a line per video that cannot be read.

        Raises:
            DataError: A video cannot be read; without `strict`, no input is left.
            VideozooError: What makes the features is not known or cannot be found.
        """
        inputs: list[Any] = []
        failed: list[str] = []
        first: DataError | None = None
        among = _paths_among(list(flat(videos)))
        for number, one in enumerate(flat(videos)):
            try:
                if isinstance(one, str | Path):
                    made = as_features(
                        [str(one)],
                        self._trained,
                        EncoderChoice(),
                        accelerator,
                        strict=strict,
                        extractor=self._extractor(accelerator),
                        among=among,
                    )
                    inputs += made.inputs
                    failed += made.failed
                elif _is_video(one):
                    name, reader = as_reader(one, number)
                    name = dict(zip(among, names_apart(among), strict=True)).get(
                        Path(name), video_name(Path(name))
                    )
                    inputs.append(self._extractor(accelerator)().extract(reader, name=name))
                else:
                    inputs.append(one)
            except DataError as error:
                if strict:
                    raise
                first = first or error
                failed.append(str(error))
        if first is not None and not inputs:
            raise first
        return inputs, failed

    def _extractor(self, accelerator: Accelerator) -> Callable[[], Extractor]:
        """Opens what makes features of videos, once."""

        def opened() -> Extractor:
            if self._encoding is None:
                self._encoding = extractor_for(self._trained, EncoderChoice(), accelerator)
            return self._encoding

        return opened

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is opened again where it is needed."""
        return {**vars(self), "_encoding": None}

    def __reduce_ex__(self, protocol: SupportsIndex) -> Any:
        """Pickle; the classes of a model file are found again by importing the file first."""
        if self.config.exported is not None or not is_model_file(self.config.name):
            return super().__reduce_ex__(protocol)
        state = pickle.dumps(self.__getstate__(), protocol.__index__())
        return _unpickled, (type(self), self.config.name, state)

    def __repr__(self) -> str:
        classes = f", {counted(len(self.class_names), 'class')}" if self.class_names else ""
        title = self.config.spec.title
        return f"{type(self).__name__}({title}{classes}, from '{self._trained.path}')"


def _paths_among(videos: Sequence[Any]) -> list[Path]:
    """Paths of all videos among some inputs, also of open ones, from which they get names."""
    texts = [str(one) for one in videos if isinstance(one, str | Path)]
    opened = [getattr(one, "path", None) for one in videos if not isinstance(one, str | Path)]
    found = [Path(path) for path in opened if isinstance(path, str | Path)]
    return [*all_inputs(texts), *found] if len(texts) + len(found) > 1 else []


def _unpickled(kind: type[Predictor], model_file: str, state: bytes) -> Predictor:
    """Make a predictor from its pickle, which could run any code without this import, too.

    Raises:
        ConfigError: The model file was moved or removed.
    """
    try:
        model_spec(model_file)
    except ConfigError as error:
        raise ConfigError(
            f"a pickled {kind.__name__} of a model file, which is imported first: {error}"
        ) from None
    predictor = kind.__new__(kind)
    vars(predictor).update(pickle.loads(state))
    return predictor


# --- inputs --------------------------------------------------------------------------------------


def grouped(inputs: Sequence[Any]) -> Iterator[list[Any]]:
    """Group the inputs, in order: runs of paths (as text), and runs of inputs in memory.

    Lists and tuples among the inputs are flattened.

    >>> import numpy as np
    >>> [len(group) for group in grouped(["a", ["b", Path("c")], np.zeros(3), "d"])]
    [3, 1, 1]
    >>> list(grouped([]))
    [[]]
    """
    if not inputs:  # then the configuration names the inputs
        yield []
    for is_path, group in groupby(flat(inputs), key=lambda one: isinstance(one, str | Path)):
        members = list(group)
        yield list(map(str, members)) if is_path else members


@words_for_python()
def answers(
    inputs: Sequence[Any],
    answer: Callable[[list[Any], int], tuple[Sequence[R], Sequence[str]]],
    *,
    strict: bool,
    streams: Collection[str] | None = None,
) -> tuple[list[R], list[str]]:
    """Ask about all inputs, group by group; see `grouped`.

    Args:
        inputs: As the caller gave them.
        answer: (group, place of its first input) -> results, and a line per video without one.
        strict: Raise if a group cannot be used. Otherwise its inputs are asked about one by one.
        streams: For features: see `as_records`.

    Returns:
        All results, in the order of the inputs, and all lines.

    Raises:
        DataError: A group cannot be used; without `strict`, no input can.
    """
    results: list[R] = []
    failed: list[str] = []
    errors: list[DataError] = []
    place = 0
    for group in grouped(inputs):
        try:
            found, without = answer(group, place)
            results += found
            failed += without
        except DataError as error:
            alone = [] if strict else _one_by_one(group, place, streams)
            if strict or not group:
                raise
            if len(alone) == 1:
                errors.append(error)
                failed.append(str(error))
                alone = []
            for one, number in alone:
                try:
                    found, without = answer([one], number)
                    results += found
                    failed += without
                except DataError as its_own:
                    errors.append(its_own)
                    failed.append(str(its_own))
        place += len(group)
    if errors and not results:
        raise errors[0]
    return results, failed


def _one_by_one(
    group: list[Any], first: int, streams: Collection[str] | None
) -> list[tuple[Any, int]]:
    """Each video of a group as an input by itself, and its place."""
    if streams is None or are_paths(group):
        return [(one, number) for number, one in enumerate(group, first)]
    return [
        (value if isinstance(value, FeatureRecord) else {name: value}, number)
        for number, one in enumerate(group, first)
        for name, value in _by_name(one, number, streams or _PAIR).items()
    ]


def _by_name(one: Any, number: int, streams: Collection[str]) -> Mapping[str, Any]:
    """The videos of one input of features by name."""
    if isinstance(one, FeatureRecord):
        return {one.name: one}
    if isinstance(one, Mapping):
        mapping = cast("Mapping[Any, Any]", one)
        if not mapping or not set(mapping) <= set(streams):
            return {str(name): value for name, value in mapping.items()}
    return {f"video {number}": one}


def flat(inputs: Sequence[Any]) -> Iterator[Any]:
    """The inputs, without the lists and tuples around them."""
    for one in inputs:
        if isinstance(one, list | tuple):
            yield from flat(cast("Sequence[Any]", one))
        else:
            yield one


def are_paths(group: Sequence[Any]) -> bool:
    """Whether a group from `grouped` holds paths."""
    return all(isinstance(one, str) for one in group)


def _is_video(one: Any) -> bool:
    """Whether an input is an open video, or frames of one."""
    return is_reader(one) or (_is_array(one) and one.ndim == 4)


def as_reader(video: Any, number: int) -> tuple[str, VideoReader]:
    """Name and reader of an open video, or of one in memory; `number` is its place in the inputs.

    Raises:
        VideoError: An array has another shape or type, or a reader lacks something.
        DataError: The input is not a video.
    """
    name = f"video {number}"
    if is_reader(video):
        name = str(getattr(video, "path", name))
        return name, as_video_reader(video, name)
    if not _is_array(video):
        raise DataError(
            f"{name}: a {type(video).__name__}, expected a path, a video from open_video, or "
            "frames uint8 (T, H, W, 3)"
        )
    return name, FrameArray(video, name=name)


_PAIR = ("rgb", "flow")


def as_records(
    features: Sequence[Any],
    *,
    streams: Collection[str] = (),
    first: int = 0,
    extractor: Mapping[str, Any] | None = None,
) -> RecordSet:
    """Features in memory as records.

    Args:
        features: See `Features`; no paths.
        streams: Names of the streams that a model reads: a dict of these is one video, and an array
            by itself the only one. By default `rgb` and `flow`.
        first: Place of the first one among the inputs; used in names.
        extractor: What the model learnt from is taken to have made these too. Where it tells how
            many vectors per second there are, they tell how long their videos are.

    Raises:
        DataError: An input is not features.
    """
    streams = streams or _PAIR
    only = next(iter(streams)) if len(streams) == 1 else ""
    rate = (extractor or {}).get("rate")
    records: list[FeatureRecord] = []
    for number, one in enumerate(features, first):
        for name, value in _by_name(one, number, streams).items():
            if isinstance(value, FeatureRecord):
                records.append(value)
                continue
            arrays = value if isinstance(value, Mapping) else {only: value}
            if not arrays:
                raise DataError(f"{name}: an empty dict, expected features (T, dim) by stream")
            held = {
                str(stream): _as_features(array, f"{name}: {stream}" if stream else name)
                for stream, array in cast("Mapping[Any, Any]", arrays).items()
            }
            length = min(map(len, held.values()))
            seconds = length / rate if isinstance(rate, int | float) and rate > 0 else None
            records.append(FeatureRecord(name, held, duration_seconds=seconds))
    if not records:
        raise DataError("no features: an empty dict")
    return RecordSet([RecordArrays(records, extractor)])


def names_in_memory(
    features: Sequence[Any], *, streams: Collection[str] = (), first: int = 0
) -> list[str]:
    """Names that `as_records` gives to features, also to those that it refuses."""
    each = (_by_name(one, number, streams or _PAIR) for number, one in enumerate(features, first))
    return [name for videos in each for name in videos]


def names_of(records: RecordSet) -> list[str]:
    """Names of the videos, in order."""
    return [records.read(number).name for number in range(len(records))]


def _as_features(value: Any, name: str) -> NDArray[Any]:
    if not _is_array(value):
        raise DataError(
            f"{name}: a {type(value).__name__}, expected a path, features (T, dim) as an array or "
            "tensor, or a dict of them"
        )
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.is_floating_point() else value
    array: NDArray[Any] = np.asarray(value)
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind not in "fiu":
        raise DataError(
            f"{name}: an array of shape {array.shape} and type {array.dtype}, expected numbers of "
            "shape (T, dim), one row per vector; for several videos pass a list or a dict of arrays"
        )
    return array


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray | Tensor)


def without_workers(config: RunConfig) -> RunConfig:
    """The same run without worker processes: inputs in memory need none."""
    return config.replace("", {"data.num_workers": 0}) if config.data.num_workers else config

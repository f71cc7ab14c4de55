"""Features of whole videos by name, for readers that cut events and windows out of them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.features.records import Facts
from videozoo.data.text import spellings
from videozoo.errors import DataError, MisfitError
from videozoo.safe_pickle import load_pickle

_MOST_KEPT = 4  # videos whose features stay in memory: events of one video follow each other


class VideoFeatures:
    """What `FeatureFiles` reads, and folders of 2019: a pickle a video, its name the video's."""

    def __init__(self, path: Path, *, streams: tuple[str, ...] = ()) -> None:
        """Look what is there.

        Args:
            path: A folder of pickles named as the videos, or whatever `FeatureFiles` takes.
            streams: As `FeatureFiles`.

        Raises:
            DataError: There is no such thing, or it holds no features.
        """
        self.path = path
        self._pickles = _pickles_in(path)
        self._files = None if self._pickles else FeatureFiles(path, streams=streams)
        self.extractor: Facts | None = self._files.extractor if self._files else None
        """What made the features, where that is known."""
        self.durations: dict[str, float] = self._files.durations if self._files else {}
        """Seconds of the videos whose features tell."""
        self._kept: OrderedDict[str, NDArray[np.float32]] = OrderedDict()

    def __iter__(self) -> Iterator[str]:
        """Names of videos, sorted."""
        return iter(sorted(self._pickles) if self._files is None else self._files)

    def __contains__(self, video: object) -> bool:
        if self._files is not None:
            return video in self._files
        return isinstance(video, str) and self._pickle(video) is not None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_kept": OrderedDict()}

    @property
    def own_rate(self) -> float | None:
        """Vectors a second as the features themselves say; None where they do not."""
        said = (self.extractor or {}).get("rate")
        return None if said is None else float(said)

    def rate(self, configured: float | None, default: float) -> float:
        """Vectors a second: as the features say or as configured, else the default.

        Raises:
            DataError: The first two differ.
        """
        said = self.own_rate
        if said is not None and configured is not None and abs(said - configured) > 1e-3 * said:
            raise DataError(
                f"{self.path}: the features say that they have {said:g} vectors a second, but "
                f"data.rate is {configured:g}, with which every time would be wrong; leave it out: "
                "--set data.rate=null"
            )
        return configured or said or default

    def rate_notes(self, configured: float | None, rate: float) -> tuple[str, ...]:
        """A line where the number of vectors a second is no more than assumed."""
        if configured is not None or self.own_rate is not None:
            return ()
        return (
            f"{self.path}: the features do not say how many vectors a second they have; {rate:g} "
            "is assumed: --set data.rate=NUMBER",
        )

    def where(self, video: str) -> str:
        """The file of a video that is there, for messages."""
        return str(self._pickle(video)) if self._files is None else self._files.where(video)

    def read(self, video: str, *, feature_dim: int) -> NDArray[np.float32]:
        """Return the features of a video, (T, feature_dim); do not write into them.

        Raises:
            DataError: There are none, or the file is damaged.
            MisfitError: They have another length.
        """
        if video in self._kept:
            self._kept.move_to_end(video)
            return self._kept[video]
        if self._files is not None:
            features = self._files.read(video, feature_dim=feature_dim)
        else:
            features = self._read_pickle(video, feature_dim)
        self._kept[video] = features
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return features

    def _pickle(self, video: str) -> Path | None:
        return next((self._pickles[n] for n in spellings(video) if n in self._pickles), None)

    def _read_pickle(self, video: str, feature_dim: int) -> NDArray[np.float32]:
        path = self._pickle(video)
        if path is None:
            raise DataError(f"{video}: no features in {self.path}")
        try:
            features = np.asarray(load_pickle(path), np.float32)
        except (ValueError, TypeError):
            raise DataError(f"{path}: expected an array (frames, values)") from None
        if features.ndim != 2 or not len(features):
            raise DataError(f"{path}: shape {features.shape}, expected (frames, values)")
        if features.shape[1] != feature_dim:
            raise MisfitError(
                f"{path}: {features.shape[1]} values a frame, expected model.feature_dim="
                f"{feature_dim}; are these the features the model was made for?"
            )
        if not np.isfinite(features).all():
            raise DataError(f"{path}: holds what is not a number; extract it again")
        return features


def _pickles_in(folder: Path) -> dict[str, Path]:
    """Files without a suffix, where a folder holds nothing else."""
    if not folder.is_dir():
        return {}
    found = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    if not found or any(path.suffix or path.is_dir() for path in found):
        return {}
    return {path.name: path for path in found}


def named_files(inputs: tuple[str, ...]) -> list[Path]:
    """Paths of the command line, which must be there.

    Raises:
        DataError: One is not.
    """
    paths = [Path(text) for text in inputs]
    for path in paths:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
    return paths

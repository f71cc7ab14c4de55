"""Files between BSN's stages: scores, proposals and their features; batches of proposals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from videozoo.data.annotations.segments import Annotation, Annotations
from videozoo.data.coverage import load_annotations
from videozoo.data.loader import Batch, Missing, Numbers, VideoDataset, share_by_video
from videozoo.data.text import of_video, text_of
from videozoo.errors import DataError, MisfitError, few
from videozoo.ops.windows import Window
from videozoo.safe_npy import read_npy
from videozoo.safe_write import written_aside
from videozoo.settings.segments import ProposalData
from videozoo.settings.shared import Part

FloatArray = NDArray[np.float64]

_ENDS = ("xmin", "xmax", "xmin_score", "xmax_score")
_OTHER_NAMES = {
    "tmin": "xmin",
    "tmax": "xmax",
    "tmin_score": "xmin_score",
    "tmax_score": "xmax_score",
}
"""What other libraries call the columns."""


# --- tables ----------------------------------------------------------------------------------


def write_table(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    """Write columns of numbers as CSV, to the last digit as the 2019 library did with pandas.

    Args:
        path: The file.
        columns: Name to (R,) numbers. Each is written with as few digits as tell it from its
            neighbours in its own type: float32 with up to 9 (as it wrote the scores of TEM and
            all of PEM), float64 with up to 17 (proposals).

    Raises:
        ValueError: Columns differ in length.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.csv"
    >>> write_table(path, {"xmin": np.array([0.1]), "score": np.array([0.1], np.float32)})
    >>> path.read_text()
    'xmin,score\\n0.1,0.1\\n'
    """
    texts = [array.astype(str).tolist() for array in columns.values()]
    rows = [",".join(row) for row in zip(*texts, strict=True)]
    with written_aside(path) as aside:
        aside.write_text("\n".join([",".join(columns), *rows, ""]), encoding="utf-8")


def read_table(path: Path, columns: Sequence[str]) -> dict[str, FloatArray]:
    """Read some columns of a CSV of numbers; `tmin` stands for `xmin` and so on.

    Raises:
        DataError: The file is missing or damaged, or lacks a column.
    """
    lines = text_of(path).splitlines()
    names = [name.strip() for name in lines[0].split(",")] if lines else []
    names = [_OTHER_NAMES.get(name, name) for name in names]
    lacks = [name for name in columns if name not in names]
    if lacks:
        held = ", ".join(names) or "none"
        raise DataError(f"{path}: has no column {', '.join(lacks)}; its columns are: {held}")
    rows = [line for line in lines[1:] if line.strip()]
    if not rows:
        return {name: np.zeros(0) for name in columns}
    try:
        table = np.loadtxt(rows, np.float64, delimiter=",", ndmin=2, comments=None)
    except ValueError as error:
        raise DataError(f"{path}: not a table of numbers: {error}") from None
    if table.shape[1] != len(names):
        raise DataError(f"{path}: {table.shape[1]} values per row, expected {len(names)}")
    return {name: table[:, names.index(name)] for name in columns}


@dataclass(frozen=True)
class Proposals:
    """Segments of one video that may hold something, best first."""

    segments: FloatArray
    """(K, 2): start and end as shares of the video's length."""
    start_scores: FloatArray
    """(K,): how likely something starts at each start."""
    end_scores: FloatArray
    """(K,): how likely something ends at each end."""
    tious: FloatArray
    """(K,): tIoU with the best true segment; 0 where it is not known."""
    overlaps: FloatArray
    """(K,): greatest share of the proposal that lies in a true segment; 0 where not known."""

    def __len__(self) -> int:
        return len(self.segments)


def write_proposals(path: Path, proposals: Proposals) -> None:
    """Write the proposals of a video as BSN's second stage reads them.

    Source: PaddlePaddle/models release/1.8, the CSV of `generate_props`.
    """
    write_table(
        path,
        {
            "xmin": proposals.segments[:, 0],
            "xmax": proposals.segments[:, 1],
            "xmin_score": proposals.start_scores,
            "xmax_score": proposals.end_scores,
            "score": proposals.start_scores * proposals.end_scores,
            "match_iou": proposals.tious,
            "match_ioa": proposals.overlaps,
        },
    )


def read_proposals(path: Path, *, matched: bool, most: int | None = None) -> Proposals:
    """Read the proposals of a video.

    Args:
        path: The CSV.
        matched: Whether it must say how well they match the truth; else it may.
        most: Only the first so many.

    Raises:
        DataError: The file is missing or damaged, lacks a column, or holds what is not a number.
    """
    if matched:
        table = read_table(path, (*_ENDS, "match_iou", "match_ioa"))
    else:
        table = read_table(path, _ENDS)
        zeros = np.zeros(len(table["xmin"]))
        table = {**table, "match_iou": zeros, "match_ioa": zeros}
    for name, column in table.items():
        if not np.isfinite(column).all():
            raise DataError(f"{path}: column {name} holds {column[~np.isfinite(column)][0]}")
    cut = {name: column[:most] for name, column in table.items()}
    return Proposals(
        segments=np.stack([cut["xmin"], cut["xmax"]], axis=1),
        start_scores=cut["xmin_score"],
        end_scores=cut["xmax_score"],
        tious=cut["match_iou"],
        overlaps=cut["match_ioa"],
    )


# --- which videos ----------------------------------------------------------------------------


@dataclass(frozen=True)
class ProposalVideos:
    """The videos of one part, and which of them have proposals and their features."""

    annotations: Annotations
    """All of them."""
    present: tuple[Annotation, ...]
    """Those that have both; batches number them from 0."""
    missing: tuple[str, ...]
    """Names of those that lack one."""
    tables: Mapping[str, Path]
    """The CSV of each present video."""
    features: Mapping[str, Path]
    """The .npy of each present video."""
    folder: Path
    """Of the proposals, for messages."""


def load_proposals(data: ProposalData, part: Part, *, quiet: bool = False) -> ProposalVideos:
    """Find the videos of one part of the `data:` section, their proposals and features.

    Args:
        data: The section.
        part: Which videos.
        quiet: Log no warning: the same annotations were read before.

    Raises:
        DataError: The part is not set or cannot be used, or no video has proposals and features.
    """
    annotations = load_annotations(data, part, quiet=quiet)
    folders: list[Path] = []
    for key in ("proposals", "proposal_features"):
        folder: Path | None = getattr(data, key)
        if folder is None or not folder.is_dir():
            got = "is not set" if folder is None else f"is {folder}, which is no folder"
            raise DataError(f"data.{key} {got}; name the folder that BSN's first stage wrote")
        folders.append(folder)
    csvs, npys = _by_name(folders[0], ".csv"), _by_name(folders[1], ".npy")
    tables: dict[str, Path] = {}
    features: dict[str, Path] = {}
    for one in annotations.videos:
        table, array = _find(csvs, one.video), _find(npys, one.video)
        if table is not None and array is not None:
            tables[one.video], features[one.video] = table, array
    present = tuple(one for one in annotations.videos if one.video in tables)
    missing = tuple(one.video for one in annotations.videos if one.video not in tables)
    if not present:
        raise DataError(
            f"{folders[0]}: no proposals with features in {folders[1]} of any of the "
            f"{len(missing)} videos of {annotations.path}; looked for {few(missing)}"
        )
    return ProposalVideos(annotations, present, missing, tables, features, folders[0])


def _by_name(folder: Path, suffix: str) -> dict[str, Path]:
    return {path.stem: path for path in sorted(folder.iterdir()) if path.suffix == suffix}


def _find(paths: Mapping[str, Path], video: str) -> Path | None:
    return of_video(video, paths)


# --- batches ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class ProposalBatch(Batch):
    """Proposals of some videos, padded to the video that has most."""

    features: Tensor
    """float32 (N, K, feature_dim); padding is 0."""
    mask: Tensor
    """bool (N, K): true where there is a proposal."""
    tious: Tensor
    """float32 (N, K): tIoU with the best true segment; 0 where not known, and in the padding."""
    proposals: tuple[Proposals, ...]
    """Those of each video."""
    durations: Tensor
    """float64 (N,): seconds."""
    videos: Tensor
    """int64 (N,): number of the video among `ProposalVideos.present`."""
    names: tuple[str, ...]
    """As the annotations call the videos."""
    windows: tuple[Window, ...] = ()
    """The windows of the videos that the proposals are of; empty if they are of whole videos."""

    on_device: ClassVar = ("features", "mask", "tious")

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True)
class ProposedVideo:
    """A video, or a window of one, its proposals and their features."""

    number: int
    """Number of the video."""
    annotation: Annotation
    proposals: Proposals
    features: NDArray[np.float32]
    """(K, feature_dim)."""
    window: Window | None = None
    """Where it is a window: which. Proposals are then fractions of it."""


def _collated(videos: Sequence[ProposedVideo]) -> ProposalBatch:
    """Pad videos to the one that has most proposals."""
    longest = max(len(video.proposals) for video in videos)
    features = torch.zeros(len(videos), longest, videos[0].features.shape[1])
    mask = torch.zeros(len(videos), longest, dtype=torch.bool)
    tious = torch.zeros(len(videos), longest)
    for row, video in enumerate(videos):
        count = len(video.proposals)
        features[row, :count] = torch.from_numpy(video.features)
        mask[row, :count] = True
        tious[row, :count] = torch.from_numpy(video.proposals.tious)
    durations = [video.annotation.duration_seconds for video in videos]
    return ProposalBatch(
        features=features,
        mask=mask,
        tious=tious,
        proposals=tuple(video.proposals for video in videos),
        durations=torch.tensor(durations, dtype=torch.float64),
        videos=torch.tensor([video.number for video in videos]),
        names=tuple(video.annotation.video for video in videos),
        windows=tuple(video.window for video in videos if video.window is not None),
    )


class ProposalDataset(VideoDataset[ProposedVideo, ProposalBatch]):
    """Videos with a table of proposals and a file of their features each."""

    def __init__(
        self,
        videos: ProposalVideos,
        data: ProposalData,
        *,
        feature_dim: int,
        seed: int = 0,
        matched: bool = True,
    ) -> None:
        """Say how videos are read.

        Args:
            videos: From `load_proposals`.
            data: How many proposals are used.
            feature_dim: Values of a proposal.
            seed: Of the order.
            matched: Tables must say how well proposals match the truth, for a loss.
        """
        self.videos = videos
        self.most = data.max_proposals
        self.feature_dim = feature_dim
        self.seed = seed
        self.matched = matched
        self.missing = Missing(
            videos.missing, len(videos.annotations), videos.folder, num_items=len(videos.missing)
        )

    def __len__(self) -> int:
        return len(self.videos.present)

    def read(self, number: int, epoch: int | None) -> ProposedVideo:
        """See `VideoDataset`."""
        annotation = self.videos.present[number]
        path = self.videos.features[annotation.video]
        proposals = read_proposals(self.videos.tables[annotation.video], matched=self.matched)
        features = read_npy(path)
        if features.ndim != 2 or features.dtype.kind != "f":
            raise DataError(
                f"{path}: {features.dtype} of shape {features.shape}, expected floating-point "
                "(proposals, values)"
            )
        if features.shape[1] != self.feature_dim:
            raise MisfitError(
                f"{path}: {features.shape[1]} values per proposal, expected {self.feature_dim}; "
                "are the numbers of samples those of the first stage?"
            )
        if len(features) != len(proposals):
            raise DataError(
                f"{path}: features of {len(features)} proposals, but "
                f"{self.videos.tables[annotation.video]} has {len(proposals)}; run BSN's first "
                "stage again"
            )
        if not len(features):
            raise DataError(f"{path}: empty: the video has no proposals")
        features = features[: self.most].astype(np.float32)
        if not np.isfinite(features).all():
            raise DataError(f"{path}: holds what is not a number; run BSN's first stage again")
        cut = Proposals(*(column[: self.most] for column in vars(proposals).values()))
        return ProposedVideo(number, annotation, cut, features)

    def collate(self, items: Sequence[ProposedVideo]) -> ProposalBatch:
        """See `VideoDataset`."""
        return _collated(items)


class MemoryProposals(VideoDataset[ProposedVideo, ProposalBatch]):
    """Videos, or windows of videos, whose proposals are there already.

    Batches number videos from 0, and windows as they are numbered.
    """

    def __init__(self, videos: Sequence[ProposedVideo], *, seed: int = 0) -> None:
        """Take them as they are, windows video by video; `seed` is that of the order."""
        self.videos = videos
        self.seed = seed
        self._numbers = [
            place if video.window is None else video.number for place, video in enumerate(videos)
        ]

    def __len__(self) -> int:
        return len(self.videos)

    def order(self, epoch: int) -> Numbers:
        """See `VideoDataset`."""
        return np.random.default_rng((self.seed, epoch)).permutation(len(self))

    def read(self, number: int, epoch: int | None) -> ProposedVideo:
        """See `VideoDataset`."""
        return replace(self.videos[number], number=self._numbers[number])

    @property
    def num_videos(self) -> int:
        """See `VideoDataset`."""
        return len(set(self._numbers))

    def video_of(self, number: int) -> int:
        """See `VideoDataset`."""
        return self._numbers[number]

    def share(self, rank: int, world: int) -> Numbers:
        """See `VideoDataset`; all windows of a video are in one share."""
        return share_by_video(self._numbers, rank, world)

    def collate(self, items: Sequence[ProposedVideo]) -> ProposalBatch:
        """See `VideoDataset`."""
        return _collated(items)

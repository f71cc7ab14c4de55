"""The published weights of the models, and their places on this machine.

All are from the 2019 library, with the scores that it published. `published.csv` beside this file
holds their sizes and checksums; where it says nothing, those of the first download are stored
beside the file, and compared from then on. `tools/published_sums.py` fills it for a release.
"""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from videozoo.errors import WeightsError
from videozoo.weights.cache import left_by_2019, weights_folder

BASE_URL = "https://paddlemodels.bj.bcebos.com"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One file."""

    name: str
    """What the user types."""
    path: str
    """Path below the base address."""
    models: tuple[str, ...]
    """The models that can use it, by our names."""
    kind: Literal["weights", "pretrain"]
    """`weights`: a trained model. `pretrain`: the weights that its training started from."""
    score: str = ""
    """As published."""
    note: str = ""
    size: int | None = None
    """Bytes, if known."""
    sha256: str | None = None
    """Where known."""
    address: str = ""
    """Where it lies, if not below the base address."""

    @property
    def url(self) -> str:
        """Full address; `$VIDEOZOO_WEIGHTS_URL` replaces the original host by a mirror."""
        mirror = os.environ.get("VIDEOZOO_WEIGHTS_URL")
        if self.address and not mirror:
            return self.address
        return f"{(mirror or BASE_URL).rstrip('/')}/{self.path}"

    @property
    def file_name(self) -> str:
        """Last part of the address.

        >>> find("tsm-kinetics400-2019").file_name
        'TSM.pdparams'
        """
        return self.path.rpartition("/")[2]


def _trained(model: str, path: str, data: str, score: str, note: str = "") -> Published:
    name = f"{model.replace('_', '-')}-{data}-2019"
    return Published(name=name, path=path, models=(model,), kind="weights", score=score, note=note)


_TABLE = Path(__file__).with_name("published.csv")
_COLUMNS = ("name", "url", "size", "sha256")
_SHA256 = re.compile(r"[0-9a-f]{64}")

_KNOWN = (
    _trained(
        "attention_cluster",
        "video_classification/AttentionCluster.pdparams",
        "youtube8m",
        "GAP 0.84",
    ),
    _trained(
        "attention_lstm", "video_classification/AttentionLSTM.pdparams", "youtube8m", "GAP 0.86"
    ),
    _trained("nextvlad", "video_classification/NEXTVLAD.pdparams", "youtube8m", "GAP 0.87"),
    _trained("nonlocal", "video_classification/NONLOCAL.pdparams", "kinetics400", "top-1 0.74"),
    _trained("stnet", "video_classification/STNET.pdparams", "kinetics400", "top-1 0.69"),
    _trained("tsm", "video_classification/TSM.pdparams", "kinetics400", "top-1 0.70"),
    _trained("tsn", "video_classification/TSN.pdparams", "kinetics400", "top-1 0.67"),
    _trained("ctcn", "video_detection/CTCN.pdparams", "activitynet", "mAP 0.31"),
    _trained("bmn", "video_detection/BMN.pdparams", "activitynet", "AUC 67.19"),
    _trained(
        "bsn_tem",
        "video_detection/BsnTem.pdparams",
        "activitynet",
        "AUC 66.64",
        "with bsn-pem-activitynet-2019",
    ),
    _trained(
        "bsn_pem",
        "video_detection/BsnPem.pdparams",
        "activitynet",
        "AUC 66.64",
        "with bsn-tem-activitynet-2019",
    ),
    _trained("ets", "video_caption/ETS.pdparams", "activitynet", "METEOR 9.8"),
    _trained("tall", "video_grounding/TALL.pdparams", "tacos", "R@1 0.13, R@5 0.24", "tIoU 0.5"),
    Published(
        name="resnet50-imagenet-2019",
        path="video_classification/ResNet50_pretrained.tar.gz",
        models=("stnet", "tsm", "tsn"),
        kind="pretrain",
        note="depth 50, ImageNet",
    ),
    Published(
        name="nonlocal-resnet50-imagenet-2019",
        path="video_classification/Nonlocal_ResNet50_pretrained.tar.gz",
        models=("nonlocal",),
        kind="pretrain",
        note="depth 50, ImageNet",
    ),
)


def with_sums(entries: Sequence[Published], table: Path) -> tuple[Published, ...]:
    """The entries with what a table says of them.

    Args:
        entries: Published files.
        table: CSV of `name,url,size,sha256`. A url, size or sum that is not known is left empty.

    Raises:
        WeightsError: The table cannot be read; the message names the line.
    """
    by_name = {entry.name: entry for entry in entries}
    with table.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        if tuple(rows.fieldnames or ()) != _COLUMNS:
            raise WeightsError(f"{table}: expected the columns {', '.join(_COLUMNS)}")
        for row in rows:
            where, name = f"{table}, line {rows.line_num}", row["name"]
            if name not in by_name:
                raise WeightsError(f"{where}: no published weights are called {name!r}")
            size, digest, url = (row[key] or "" for key in ("size", "sha256", "url"))
            if size and not size.isdecimal():
                raise WeightsError(f"{where}: size is {size!r}, expected bytes")
            if digest and not _SHA256.fullmatch(digest):
                raise WeightsError(f"{where}: sha256 is {digest!r}, expected 64 of 0-9 and a-f")
            if url and not url.startswith(("https://", "http://")):
                raise WeightsError(f"{where}: url is {url!r}, expected http or https")
            by_name[name] = replace(
                by_name[name],
                size=int(size) if size else None,
                sha256=digest or None,
                address=url,
            )
    return tuple(by_name.values())


PUBLISHED = with_sums(_KNOWN, _TABLE)


def find(name: str) -> Published:
    """Return the published file `name`.

    Raises:
        WeightsError: There is none; the message gives the nearest name.
    """
    for entry in PUBLISHED:
        if entry.name == name.lower():
            return entry
    near = nearest(name)
    hint = f"did you mean {near}?" if near else "see `videozoo weights list`"
    raise WeightsError(f"{name}: no published weights are called so; {hint}")


def is_name(text: str) -> bool:
    """Whether `text` is the name of published weights."""
    return any(entry.name == text.lower() for entry in PUBLISHED)


def nearest(text: str) -> str:
    """The name nearest to `text`, or ""."""
    close = get_close_matches(text.lower(), [entry.name for entry in PUBLISHED], n=1, cutoff=0.7)
    return close[0] if close else ""


def published_for(model: str | None) -> list[Published]:
    """Published files for one model, or all of them.

    Raises:
        WeightsError: Nothing was published for this model.
    """
    if model is None:
        return list(PUBLISHED)
    plain = _plain(model)
    found = [e for e in PUBLISHED if plain in map(_plain, e.models)]
    if not found:
        known = sorted({name for entry in PUBLISHED for name in entry.models})
        raise WeightsError(f"nothing was published for a model {model!r}; for {', '.join(known)}")
    return found


def _plain(model: str) -> str:
    return model.lower().replace("_", "").replace("-", "")


def find_published(entry: Published) -> Path | None:
    """Path of published weights on this machine, or None; nothing is downloaded."""
    ours = weights_folder() / entry.file_name
    return ours if ours.exists() else left_by_2019(entry.file_name)


def default_for(model: str, kind: Literal["weights", "pretrain"]) -> Published | None:
    """The file that the 2019 library uses by default for a model."""
    return next(
        (entry for entry in PUBLISHED if model in entry.models and entry.kind == kind), None
    )

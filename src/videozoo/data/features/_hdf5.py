"""Read untrusted HDF5 files: only datasets inside the file, never more than it can hold.

HDF5 can take values from other files (external storage, links, virtual datasets), and can declare
large shapes without stored values. Both are refused.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from videozoo.errors import DataError

_FREE_BYTES = 64 * 2**20
_MOST_EXPANSION = 100  # highest ratio of compression


_AROUND = frozenset(("data", "feature", "features", "feats", "video_features", "videos"))


def names_in(path: Path) -> list[str]:
    """Names of the datasets and groups at the top level of a file.

    If everything is in one group that is called `features` or alike, and that holds several, the
    names are those in it, with its own before them: `features/a`.

    Raises:
        DataError: The file is missing or damaged, or h5py is.
    """
    with _opened(path) as file:
        names = [str(name) for name in file]
        if len(names) != 1 or not is_common_name(names[0]):
            return names
        held = _inside(file, names[0])
        inside = [] if _is_dataset(held) else [f"{names[0]}/{name}" for name in held]
        return inside if len(inside) > 1 else names


def is_common_name(name: str) -> bool:
    """Whether a name says that there are features, and not of which video."""
    return name.lower() in _AROUND


def are_datasets(path: Path, names: Iterable[str]) -> bool:
    """Whether all of some names at the top level of a file are datasets, and no groups.

    Raises:
        DataError: The file is missing or damaged, or takes one of them from elsewhere.
    """
    with _opened(path) as file:
        return all(_is_dataset(_inside(file, name)) for name in names)


def read_datasets(path: Path, name: str | None) -> dict[str, NDArray[Any]]:
    """Return the datasets of a file, or of one group in it, by name.

    Args:
        path: The file.
        name: A dataset or a group, as `names_in` tells it; None for the top level itself. If it is
            a dataset, it is returned under the name "". Texts beside numbers are left out.

    Raises:
        DataError: The file is missing or damaged; a dataset takes its values from elsewhere, was
            never written, is not numbers, or is larger than the file can mean; or h5py is missing.
    """
    with _opened(path) as file:
        held = file if name is None else _inside(file, name)
        found = {"": held} if _is_dataset(held) else {str(key): _inside(held, key) for key in held}
        texts = [key for key, dataset in found.items() if _is_text(dataset)]
        if len(texts) < len(found):
            found = {key: dataset for key, dataset in found.items() if key not in texts}
        wanted = 0
        for key, dataset in found.items():
            if not _is_dataset(dataset):
                raise ValueError(
                    f"{key!r} is a group, expected a dataset: VIDEO, VIDEO/STREAM or features/VIDEO"
                )
            wanted += _announced(dataset, key or str(name))
        size = path.stat().st_size
        if wanted > max(_FREE_BYTES, _MOST_EXPANSION * size):
            raise ValueError(f"{size:,} bytes that say they hold {wanted:,}")
        return {key: np.asarray(dataset) for key, dataset in found.items()}


@contextmanager
def _opened(path: Path) -> Generator[Any]:
    """Open a file; every error in it becomes a DataError."""
    h5py = _h5py()
    try:
        with path.open("rb"):  # the error of h5py for a missing file is less clear
            pass
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    try:
        with h5py.File(path, "r") as file:
            yield file
    except Exception as error:  # a damaged file can raise nearly any kind of error
        reason = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: not a readable HDF5 file: {reason}") from None


def _h5py() -> Any:
    try:
        return importlib.import_module("h5py")
    except ImportError:
        raise DataError(
            "features in HDF5 files need h5py, which is not installed: pip install 'videozoo[h5]'"
        ) from None


def _is_dataset(held: Any) -> bool:
    return isinstance(held, _h5py().Dataset)


def _is_text(held: Any) -> bool:
    if not _is_dataset(held):
        return False
    return held.dtype.kind in "SU" or _h5py().check_string_dtype(held.dtype) is not None


def _inside(group: Any, name: str) -> Any:
    for part in name.split("/"):  # h5py would follow links on the way
        link = group.get(part, getlink=True)
        if not isinstance(link, _h5py().HardLink):
            raise ValueError(f"{part!r} is a link to elsewhere, expected a dataset in this file")
        group = group[part]
    return group


def _announced(dataset: Any, name: str) -> int:
    """Memory in bytes that a dataset needs; ValueError if the file cannot hold that much."""
    if dataset.external or dataset.is_virtual:
        raise ValueError(f"the values of {name!r} lie in another file")
    if dataset.shape is None or dataset.dtype.kind not in "biufSU":
        raise ValueError(f"{name!r} holds {dataset.dtype}, expected numbers")
    wanted = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = int(dataset.id.get_storage_size())
    if dataset.chunks is None:
        if wanted > stored:
            raise ValueError(
                f"{name!r} says {dataset.dtype} {dataset.shape}, {wanted:,} bytes, but {stored:,} "
                "are stored"
            )
        return wanted
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize
    if max(wanted, chunk) > max(_FREE_BYTES, _MOST_EXPANSION * stored):
        raise ValueError(f"{name!r}: {stored:,} bytes that say they hold {max(wanted, chunk):,}")
    return wanted

"""From a name, a hub address or a path, as users type them, to a file on this machine."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path

from videozoo.errors import WeightsError
from videozoo.safe_sums import sum_of
from videozoo.weights import hub, hub_runs, registry
from videozoo.weights.archive import is_archive, unpack
from videozoo.weights.cache import unpacked_folder, weights_folder
from videozoo.weights.download import fetch
from videozoo.weights.registry import Published

Say = Callable[[str], None]


def is_remote(text: str) -> bool:
    """Whether `text` names a file that may need a download, and not a path."""
    return not Path(text).exists() and (
        text.startswith(hub.PREFIX) or "://" in text or registry.is_name(text)
    )


def fetch_named(text: str, *, say: Say = lambda _: None) -> Path:
    """Return the file behind a registry name or an `hf://` name; see `is_remote`.

    For a whole run on the hub that is its weights, in its run folder of the cache.

    Raises:
        WeightsError: It cannot be downloaded; the message says how to do it by hand.
    """
    if hub.is_model(text):
        return hub_runs.fetch(text, say=say)
    if text.startswith(hub.PREFIX):
        return hub.fetch(text)
    if "://" in text:
        raise WeightsError(
            f"{text}: addresses are not taken; download the file and pass its path, or use a name "
            "of `videozoo weights list`, hf://OWNER/NAME or hf://OWNER/REPOSITORY/FILE"
        )
    return fetch_published(registry.find(text), say=say)


def fetch_published(entry: Published, *, say: Say = lambda _: None) -> Path:
    """Return published weights: from the cache, from the 2019 library's cache, or downloaded.

    Raises:
        WeightsError: They cannot be downloaded.
    """
    if (here := registry.find_published(entry)) is not None and here.parent != weights_folder():
        _refuse_other(here, entry)
        return here
    return fetch(
        entry.url,
        weights_folder() / entry.file_name,
        size=entry.size,
        sha256=entry.sha256,
        say=say,
    )


def _refuse_other(here: Path, entry: Published) -> None:
    """Raise WeightsError if the sum of a published file is known, and this file has another."""
    if entry.sha256 is None or not here.is_file():
        return
    try:
        found = sum_of(here)
    except OSError as error:
        raise WeightsError(f"{here}: cannot be read: {error.strerror}") from None
    if found != entry.sha256:
        raise WeightsError(
            f"{here}: not the published file: sha256 {found}, expected {entry.sha256}; move it "
            "away, and the file is downloaded"
        )


def fetch_all(names: Collection[str], *, say: Say = lambda _: None) -> list[Path]:
    """Return the published files of these names; missing ones are downloaded.

    Raises:
        WeightsError: A name is unknown (then nothing is downloaded), or a download fails.
    """
    entries = [registry.find(name) for name in names]
    return [fetch_published(entry, say=say) for entry in entries]


def unpacked(path: Path) -> Path:
    """Return `path`, or for an archive its unpacked folder in the cache.

    Raises:
        WeightsError: The archive is damaged or refused.
    """
    return unpack(path, unpacked_folder()) if is_archive(path) else path

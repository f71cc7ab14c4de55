"""Weights from the Hugging Face hub, by `hf://owner/repository/path/to/file[@revision]`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from videozoo.errors import WeightsError
from videozoo.weights._http import is_reachable
from videozoo.weights.cache import is_offline

PREFIX = "hf://"
_SUFFIXES = (".safetensors", ".pth", ".pdparams")


@dataclass(frozen=True)
class HubFile:
    """One file of a repository."""

    repository: str
    file: str
    revision: str | None = None


def parse(text: str) -> HubFile:
    """Parse an `hf://` name.

    Raises:
        WeightsError: A part is missing, or files of this kind are not downloaded.

    >>> parse("hf://me/nets/tsm/best.safetensors@v2")
    HubFile(repository='me/nets', file='tsm/best.safetensors', revision='v2')
    """
    name, _, revision = text.removeprefix(PREFIX).partition("@")
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file) or ".." in PurePosixPath(file).parts:
        raise WeightsError(
            f"{text}: expected hf://OWNER/REPOSITORY/PATH/TO/FILE, with @REVISION if need be"
        )
    if PurePosixPath(file).suffix not in _SUFFIXES:
        raise WeightsError(
            f"{text}: a file of another kind; of the hub, only {', '.join(_SUFFIXES)} are fetched"
        )
    return HubFile(f"{owner}/{repository}", file, revision or None)


def fetch(text: str) -> Path:
    """Return the file in the hub's own cache; it is downloaded if it is missing.

    Raises:
        WeightsError: There is no such file, no permission, or no network.
    """
    wanted = parse(text)
    # the import takes half a second
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
    offline = is_offline()
    # without a network, the hub's client would try for half a minute
    here_only = offline or not is_reachable(endpoint)
    try:
        return Path(
            hf_hub_download(
                wanted.repository,
                wanted.file,
                revision=wanted.revision,
                local_files_only=here_only,
                endpoint=endpoint,
            )
        )
    except GatedRepoError:
        reason = "its owners want to be asked first; see the page of the repository, then log in"
    except RepositoryNotFoundError:
        reason = f"no repository {wanted.repository}, or it is private (hf auth login)"
    except RevisionNotFoundError:
        reason = f"{wanted.repository} has no revision {wanted.revision}"
    except LocalEntryNotFoundError:  # a kind of EntryNotFoundError
        reason = "not in the cache, and "
        off = "downloads are switched off (VIDEOZOO_OFFLINE or HF_HUB_OFFLINE)"
        reason += off if offline else f"no answer from {endpoint}; is there a network?"
    except EntryNotFoundError:
        reason = f"{wanted.repository} has no file {wanted.file}"
    except HFValidationError as error:
        reason = str(error)
    except Exception as error:  # the hub's client does not catch the errors of its HTTP library
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    raise WeightsError(f"{text}: cannot be fetched: {reason}")

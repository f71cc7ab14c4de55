"""Weights from the Hugging Face hub: `hf://owner/repository/path/to/file[@revision]`, or a model.

A whole model is `hf://owner/name[@revision]`; its files are fetched one by one, all of one commit.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from videozoo.errors import WeightsError
from videozoo.weights._http import is_reachable
from videozoo.weights.cache import is_offline

PREFIX = "hf://"
_SUFFIXES = (".safetensors", ".pth", ".pdparams")
_MODEL = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^@]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")


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
    found = _Client().fetch(wanted.repository, wanted.file, wanted.revision)
    if isinstance(found, Path):
        return found
    raise WeightsError(f"{text}: cannot be fetched: {found}")


def is_model(text: str) -> bool:
    """Whether a text has the form `hf://owner/name[@revision]`.

    >>> is_model("hf://me/clip"), is_model("hf://me/clip@v2"), is_model("hf://me/nets/a.pth")
    (True, True, False)
    """
    return _MODEL.fullmatch(text) is not None


class HubModel:
    """The files of a model on the hub, at one commit, in the hub's own cache.

    Attributes:
        repository: "owner/name".
        commit: Hash of the commit that the revision means now.
    """

    def __init__(self, text: str) -> None:
        """Find the model by its `config.json`.

        Args:
            text: `hf://owner/name[@revision]`; the revision is a branch, a tag or a commit.

        Raises:
            WeightsError: There is no such model, no permission, or no network.
        """
        match = _MODEL.fullmatch(text)
        if match is None:
            raise WeightsError(f"{text}: expected hf://OWNER/NAME, with @REVISION if need be")
        self.text = text
        self.repository: str = match[1]
        self._client = _Client()
        found = self._client.fetch(self.repository, "config.json", match[2])
        if not isinstance(found, Path):
            raise WeightsError(f"{text}: cannot be fetched: {found}")
        self.commit = found.parent.name
        if not _COMMIT.fullmatch(self.commit):
            raise WeightsError(
                f"{text}: cannot be fetched: the cache does not tell its commit ({found})"
            )

    def find(self, file: str) -> Path | None:
        """Return a file, fetched if need be; None if the model has no such file.

        Without a network, a file that was never fetched counts as one that is not there.

        Raises:
            WeightsError: The download fails.
        """
        found = self._client.fetch(self.repository, file, self.commit)
        if isinstance(found, _NoFile):
            return None
        if isinstance(found, Path):
            return found
        raise WeightsError(f"{self.text}: {file} cannot be fetched: {found}")


class _NoFile(str):
    """Why a file could not be fetched: it is not there."""


class _Client:
    """The hub's client, with its errors in words."""

    def __init__(self) -> None:
        self._endpoint = os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        self._offline = is_offline()
        # without a network, the hub's client would try for half a minute
        self._here_only = self._offline or not is_reachable(self._endpoint)

    def fetch(self, repository: str, file: str, revision: str | None) -> Path | str:
        """Return the file, or why it cannot be fetched."""
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

        try:
            return Path(
                hf_hub_download(
                    repository,
                    file,
                    revision=revision,
                    local_files_only=self._here_only,
                    endpoint=self._endpoint,
                )
            )
        except GatedRepoError:
            return "its owners want to be asked first; see the page of the repository, then log in"
        except RepositoryNotFoundError:
            return f"no repository {repository}, or it is private (hf auth login)"
        except RevisionNotFoundError:
            return f"{repository} has no revision {revision}"
        except LocalEntryNotFoundError:  # a kind of EntryNotFoundError
            off = "downloads are switched off (VIDEOZOO_OFFLINE or HF_HUB_OFFLINE)"
            network = f"no answer from {self._endpoint}; is there a network?"
            reason = f"not in the cache, and {off if self._offline else network}"
            return _NoFile(reason) if self._here_only else reason
        except EntryNotFoundError:
            return _NoFile(f"{repository} has no file {file}")
        except HFValidationError as error:
            return str(error)
        except Exception as error:  # the hub's client does not catch errors of its HTTP library
            return f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"

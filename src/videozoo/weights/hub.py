"""Weights from the Hugging Face hub: `hf://owner/repository/path/to/file[@revision]`, or a model.

A whole model is `hf://owner/name[@revision]`; its files are fetched one by one, all of one commit.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from videozoo.errors import WeightsError
from videozoo.network import is_offline, is_only_named, libraries_held, refusal
from videozoo.weights._http import is_reachable

PREFIX = "hf://"
_SUFFIXES = (".safetensors", ".pth", ".pdparams")
_MODEL = re.compile(r"hf://([\w.-]+/[\w.-]+)(?:@([^@]+))?")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_GATED = "its owners want to be asked first; see the page of the repository, then log in"


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
    found = _Client(text).fetch(wanted.repository, wanted.file, wanted.revision)
    if isinstance(found, Path):
        return found
    raise WeightsError(f"{text}: cannot be fetched: {found}")


def endpoint() -> str:
    """The address of the hub: `$HF_ENDPOINT`, or that of Hugging Face."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def parse_model(text: str) -> tuple[str, str | None]:
    """Repository and revision of `hf://owner/name[@revision]`.

    Raises:
        WeightsError: It has another form.

    >>> parse_model("hf://me/clip@v2"), parse_model("hf://me/clip")
    (('me/clip', 'v2'), ('me/clip', None))
    """
    match = _MODEL.fullmatch(text)
    if match is None:
        raise WeightsError(f"{text}: expected hf://OWNER/NAME, with @REVISION if need be")
    return match[1], match[2]


def is_commit(revision: str | None) -> bool:
    """Whether a revision is the whole hash of a commit, which never means anything else."""
    return revision is not None and _COMMIT.fullmatch(revision) is not None


def token() -> str | None:
    """What the user was given to use the hub: `$HF_TOKEN`, or as `hf auth login` stored it."""
    with libraries_held():
        from huggingface_hub import get_token
    return get_token()


def address_of(repository: str, revision: str, file: str) -> str:
    """Where a file of a repository is fetched.

    >>> address_of("me/clip", "refs/pr/1", "a.json").removeprefix(endpoint())
    '/me/clip/resolve/refs%2Fpr%2F1/a.json'
    """
    return f"{endpoint()}/{repository}/resolve/{quote(revision, safe='')}/{quote(file)}"


def commit_and_size(text: str, file: str) -> tuple[str, int]:
    """Ask the hub for the commit that a model's revision means now, and the size of a file there.

    Args:
        text: `hf://owner/name[@revision]`.
        file: One of its files.

    Raises:
        NoFileError: The model has no such file.
        WeightsError: There is no such model, no permission, or no network.
    """
    repository, revision = parse_model(text)
    where = endpoint()
    if not is_reachable(where):
        raise WeightsError(f"{text}: no answer from {where}; is there a network?")
    with libraries_held():
        from huggingface_hub import get_hf_file_metadata
        from huggingface_hub.errors import (
            EntryNotFoundError,
            GatedRepoError,
            HfHubHTTPError,
            RepositoryNotFoundError,
            RevisionNotFoundError,
        )
    key, why = token(), ""
    try:
        url = address_of(repository, revision or "main", file)
        found = get_hf_file_metadata(url, token=key or False)
        if found.commit_hash is None or not is_commit(found.commit_hash) or found.size is None:
            raise WeightsError(f"{text}: {where} does not tell the commit and the size of {file}")
        return found.commit_hash, found.size
    except WeightsError:
        raise
    except GatedRepoError:
        why = _GATED
    except RepositoryNotFoundError:
        why = _no_repository(repository)
    except RevisionNotFoundError:
        why = f"{repository} has no revision {revision}"
    except EntryNotFoundError:
        raise NoFileError(f"{text}: {repository} has no file {file}") from None
    except HfHubHTTPError as error:
        code = error.response.status_code
        why = f"the hub says {code}"
        if code in (401, 403):
            why += "; your token does not let you read it (hf auth login)"
    except Exception as error:  # as in `_Client.look`
        why = f"{type(error).__name__}: {in_one_line(str(error), key)}"
    raise WeightsError(f"{text}: cannot be fetched: {why}")


class NoFileError(WeightsError):
    """A model on the hub has no such file."""


def _no_repository(repository: str) -> str:
    return f"no repository {repository}, or it is private (hf auth login)"


def in_one_line(text: str, key: str | None, most: int = 200) -> str:
    """A text of the hub on one line, cut where it is long, without the token of the user.

    >>> in_one_line("no\\nhf_abc", "hf_abc", 6)
    'no ***'
    """
    text = " ".join(text.split())
    return (text.replace(key, "***") if key else text)[:most]


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

    def __init__(self, text: str, *, large: Collection[str] = ()) -> None:
        """Find the model by its `config.json`.

        Args:
            text: `hf://owner/name[@revision]`; the revision is a branch, a tag or a commit.
            large: The files one of which holds the weights. If only a file names the model, and
                none of them is in the cache, the user is asked before anything is fetched.

        Raises:
            WeightsError: There is no such model, no permission, or no network.
        """
        repository, revision = parse_model(text)
        self.text = text
        self.repository: str = repository
        self._large = large
        self._client = _Client(text)
        found = self._client.fetch(self.repository, "config.json", revision)
        if isinstance(found, Path) and self._client.is_careful:
            commit = found.parent.name
            here = (self._client.look(self.repository, file, commit) for file in large)
            if not any(isinstance(file, Path) for file in here):
                found = self._client.fetch_all_the_same(self.repository, "config.json", commit)
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
        is_one_of_two = self._client.is_careful and file in self._large
        fetch = self._client.look if is_one_of_two else self._client.fetch
        found = fetch(self.repository, file, self.commit)
        if isinstance(found, _NoFile):
            return None
        if isinstance(found, Path):
            return found
        raise WeightsError(f"{self.text}: {file} cannot be fetched: {found}")


class _NoFile(str):
    """Why a file could not be fetched: it is not there."""


class _Client:
    """The hub's client, with its errors in words."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._endpoint = endpoint()
        self._offline = is_offline()
        self.is_careful = is_only_named() and not self._offline
        """Nothing is asked of the network yet, because no user typed the name."""
        # without a network, the hub's client would try for half a minute
        self._here_only = self._offline or self.is_careful or not is_reachable(self._endpoint)

    def fetch(self, repository: str, file: str, revision: str | None) -> Path | str:
        """Return the file, or why it cannot be fetched."""
        found = self.look(repository, file, revision)
        is_optional = file.endswith(".json") and file != "config.json"
        if self.is_careful and isinstance(found, _NoFile) and not is_optional:
            return self.fetch_all_the_same(repository, file, revision)
        return found

    def fetch_all_the_same(self, repository: str, file: str, revision: str | None) -> Path | str:
        """Ask the network if the user agrees, now and from now on."""
        if reason := refusal(self._text):
            return f"not on this machine, and {reason}"
        self.is_careful, self._here_only = False, not is_reachable(self._endpoint)
        return self.look(repository, file, revision)

    def look(self, repository: str, file: str, revision: str | None) -> Path | str:
        """Return the file, or why it cannot be fetched; while careful, from the cache only."""
        # the import takes half a second
        with libraries_held():
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
            return _GATED
        except RepositoryNotFoundError:
            return _no_repository(repository)
        except RevisionNotFoundError:
            return f"{repository} has no revision {revision}"
        except LocalEntryNotFoundError:  # a kind of EntryNotFoundError
            network = f"no answer from {self._endpoint}; is there a network?"
            reason = f"not in the cache, and {refusal(self._text) if self._offline else network}"
            return _NoFile(reason) if self._here_only else reason
        except EntryNotFoundError:
            return _NoFile(f"{repository} has no file {file}")
        except HFValidationError as error:
            return str(error)
        except Exception as error:  # the hub's client does not catch errors of its HTTP library
            return f"{type(error).__name__}: {in_one_line(str(error), token())}"

"""Upload a folder to a repository of the Hugging Face hub, as one commit; errors in words."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from videozoo.errors import WeightsError
from videozoo.network import is_offline, libraries_held
from videozoo.weights import hub
from videozoo.weights.download import fetch as download

_LOG_IN = "hf auth login, or the variable HF_TOKEN"


@dataclass(frozen=True)
class Repository:
    """A repository as it is now."""

    commit: str | None
    """Of its branch `main`; None: it holds nothing."""
    files: tuple[str, ...]
    is_private: bool


class Uploader:
    """Writes into one repository. The token goes to the hub alone, and into no message."""

    def __init__(self, text: str) -> None:
        """
        Args:
            text: `hf://OWNER/NAME`.

        Raises:
            WeightsError: It has another form, downloads and uploads are switched off, there is no
                token, or the hub does not answer.
        """
        self.text = text
        self.repository, revision = hub.parse_model(text)
        if revision is not None:
            raise WeightsError(f"{text}: runs are sent to the branch main; leave out @{revision}")
        if is_offline():
            raise WeightsError(
                f"{text}: the network is switched off (VIDEOZOO_OFFLINE or HF_HUB_OFFLINE)"
            )
        key, where = hub.token(), hub.endpoint()
        if key is None:
            raise WeightsError(f"{text}: no token of the hub on this machine ({_LOG_IN})")
        if not hub.is_reachable(where):
            raise WeightsError(f"{text}: no answer from {where}; is there a network?")
        with libraries_held():
            from huggingface_hub import HfApi
        self._key = key
        self._api: Any = HfApi(endpoint=where, token=key)

    def look(self) -> Repository | None:
        """Return the repository as it is; None if there is none that the token may see.

        Raises:
            WeightsError: The hub refuses, or cannot be reached.
        """
        from huggingface_hub.errors import RepositoryNotFoundError

        try:
            info = self._api.model_info(self.repository, timeout=30)
        except RepositoryNotFoundError as error:
            if _status(error) == 401:  # what the hub says of a token that it does not know
                self._explain(error)
            return None
        except Exception as error:  # the hub's client does not catch errors of its HTTP library
            self._explain(error)
        files = tuple(each.rfilename for each in info.siblings or ())
        return Repository(info.sha, files, bool(info.private))

    def read(self, file: str, commit: str, *, most_bytes: int) -> bytes | None:
        """Return a small file of the repository; None if it is larger than `most_bytes`.

        Raises:
            WeightsError: It cannot be fetched.
        """
        _, size = hub.commit_and_size(f"{self.text}@{commit}", file)
        if size > most_bytes:
            return None
        url = hub.address_of(self.repository, commit, file)
        with tempfile.TemporaryDirectory(prefix="videozoo-push-") as folder:
            target = Path(folder, "file")
            download(url, target, size=size, token=self._key, is_weights=False)
            return target.read_bytes()

    def create(self, *, is_private: bool) -> None:
        """Make the repository.

        Raises:
            WeightsError: The token may not, or it is there by now.
        """
        try:
            self._api.create_repo(self.repository, private=is_private, exist_ok=False)
        except Exception as error:
            self._explain(error)

    def commit(
        self,
        folder: Path,
        files: Collection[str],
        *,
        remove: Collection[str],
        parent: str | None,
        message: str,
        say: Callable[[str], None],
    ) -> str:
        """Send files as one commit, and return its hash. Until then others see nothing of it.

        Args:
            folder: Where the files lie.
            files: Their paths below it, which they have in the repository too.
            remove: Files of the repository that go.
            parent: The commit that `look` found; if there is another by now, nothing is sent.
            message: Of the commit.
            say: Told what takes long.

        Raises:
            WeightsError: The hub refuses.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete
        from huggingface_hub.utils import disable_progress_bars, enable_progress_bars

        operations: list[Any] = [
            CommitOperationAdd(path_in_repo=name, path_or_fileobj=folder / name) for name in files
        ]
        operations += [CommitOperationDelete(path_in_repo=name) for name in remove]
        say(f"sending to {self.text} ...")
        disable_progress_bars()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("ignore")  # what the client's libraries say to its authors
            warnings.simplefilter("always", UserWarning)
            try:
                done = self._api.create_commit(
                    self.repository,
                    operations,
                    commit_message=message,
                    parent_commit=parent,
                    revision="main",
                )
            except Exception as error:
                self._explain(error)
            finally:
                enable_progress_bars()
        for each in warned:
            say(f"note: {hub.in_one_line(str(each.message), self._key, 1000)}")
        return str(done.oid)

    def _explain(self, error: Exception) -> NoReturn:
        """Raise WeightsError that says what the hub refused."""
        while _status(error) is None and isinstance(error.__cause__, Exception):
            error = error.__cause__
        status, text = _status(error), self.text
        owner = self.repository.partition("/")[0]
        if status == 401:
            why = f"the hub does not accept the token of this machine ({_LOG_IN})"
        elif status == 403:
            why = (
                "your token may not write there; does it have the permission to write, and are "
                f"you {owner} or a member of it?"
            )
        elif status == 404:
            why = f"the hub knows no {owner}, or no such repository that you may see"
        elif status == 409:
            why = "the hub says that it is there already, or is being changed; look, and try again"
        elif status == 412:
            why = "it was changed while this was sent; nothing was written; look, and try again"
        elif status == 413 or status == 507:
            why = f"the hub takes no more from you ({status})"
        elif status is not None:
            why = f"the hub says {status}"
        else:
            why = f"{type(error).__name__}: {hub.in_one_line(str(error), self._key, 300)}"
        said = getattr(error, "server_message", None)
        if said and status is not None:
            why += f" (it says: {hub.in_one_line(str(said), self._key)})"
        raise WeightsError(f"{text}: not sent: {why}") from None


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    code = getattr(response, "status_code", None)
    return code if isinstance(code, int) else None

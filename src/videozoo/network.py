"""What may use the network: nothing with VIDEOZOO_OFFLINE=1, and no name that only a file gives.

Weights and runs name what made the features that they read, such as `hf://OWNER/NAME`, and they
may come from anyone. Such a name is taken from the cache. It is fetched only if the user types it,
agrees to downloads, or says yes when asked. Code that only weights name is never run::

    with named_in("runs/tall", instead="--encoder hf://me/clip"):
        refusal("hf://me/clip")    # "only runs/tall names it ...", or "" if it may be fetched
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

_YES = ("1", "true", "yes", "on")
_HUB = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
"""Switches of huggingface_hub, transformers and sentence-transformers."""
_LIBRARIES = (*_HUB, "HF_DATASETS_OFFLINE")
AGREED_FLAG = "--allow-downloads"

Ask = Callable[[str], bool]


@dataclass(frozen=True)
class _Named:
    """Where a name was found that no user typed."""

    file: str
    instead: str
    may_be_code: bool


@dataclass
class _Consent:
    """What the user says of names that only a file gives."""

    agreed: bool = False
    ask: Ask | None = None
    answers: dict[str, bool] = field(default_factory=dict[str, bool])


_named: ContextVar[_Named | None] = ContextVar("_named", default=None)
_consent: ContextVar[_Consent | None] = ContextVar("_consent", default=None)


def is_offline() -> bool:
    """Whether the user forbids downloads: VIDEOZOO_OFFLINE=1 or HF_HUB_OFFLINE=1."""
    return any(
        os.environ.get(name, "").strip().lower() in _YES for name in ("VIDEOZOO_OFFLINE", *_HUB)
    )


def forbid_libraries() -> None:
    """If downloads are forbidden, forbid them to the libraries underneath, before they are
    imported: they read their switches only then."""
    if is_offline():
        os.environ.update(dict.fromkeys(_LIBRARIES, "1"))


@contextmanager
def libraries_held() -> Generator[None]:
    """Inside, libraries are imported that use the network; they are told what holds by now.

    A switch may have been set since videozoo was imported, and a library before it.
    """
    before = {name: os.environ.get(name) for name in _LIBRARIES}
    constants = sys.modules.get("huggingface_hub.constants")
    if constants is not None:
        vars(constants)["HF_HUB_OFFLINE"] = is_offline()
    forbid_libraries()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def named_in(file: str, *, instead: str, may_be_code: bool = False) -> Generator[None]:
    """Inside, names to fetch are those of a file.

    Args:
        file: The run or weights file; "" if the user typed the names: then nothing changes.
        instead: What the user can type to name it.
        may_be_code: Whether what is named may be run: only in a run folder, which the user trusts.
    """
    if not file:
        yield
        return
    token = _named.set(_Named(file, instead, may_be_code))
    try:
        yield
    finally:
        _named.reset(token)


@contextmanager
def consent(*, agreed: bool = False, ask: Ask | None = None) -> Generator[None]:
    """Inside, the user agrees to downloads that only a file asks for, or is asked.

    Args:
        agreed: To all of them.
        ask: Puts a question to the user, and returns whether the answer is yes. It is called once
            per name.
    """
    token = _consent.set(_Consent(agreed, ask))
    try:
        yield
    finally:
        _consent.reset(token)


@contextmanager
def without_questions() -> Generator[None]:
    """Inside, nobody is asked; what was agreed to before holds."""
    said = _consent.get() or _Consent()
    with consent(agreed=said.agreed):
        yield


def is_only_named() -> bool:
    """Whether names are those of a file here; then the cache comes before the network."""
    return _named.get() is not None


def code_refusal() -> str:
    """Return why code that is named here may not be run; "" if it may.

    Weights alone decide nothing, so that they may come from anyone; no yes to downloads helps.
    """
    named = _named.get()
    if named is None or named.may_be_code:
        return ""
    return (
        f"only {named.file} names it, and code that only a file names is not run; if you trust it: "
        f"{named.instead}"
    )


def refusal(text: str) -> str:
    """Return why something that is not on this machine may not be fetched; "" if it may.

    Args:
        text: Its name or address, as the user is told it.
    """
    if is_offline():
        return "downloads are switched off (VIDEOZOO_OFFLINE or HF_HUB_OFFLINE)"
    named, said = _named.get(), _consent.get() or _Consent()
    if named is None or said.agreed:
        return ""
    if said.ask is not None and text not in said.answers:
        question = f"{named.file} names {text}, which is not on this machine. Download it?"
        said.answers[text] = said.ask(question)
    if said.answers.get(text):
        return ""
    return (
        f"only {named.file} names it, and a file alone decides no download; if you trust it: "
        f"{named.instead}, or {AGREED_FLAG}"
    )

"""Sentences as vectors: from a file, from the built-in encoder, or from a trained encoder.

Text towers of CLIP and SigLIP are in `encoders.sentences`, whose `make_sentence_encoder` knows all.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from videozoo.data.annotations.hashed_sentences import HashedEncoder
from videozoo.data.text import as_text
from videozoo.errors import ConfigError, DataError
from videozoo.network import code_refusal, is_offline, is_only_named, libraries_held, refusal
from videozoo.safe_npy import read_npz
from videozoo.safe_pickle import load_pickle
from videozoo.settings.moments import GIVEN, HASHED, TRAINED, SentenceSettings


class SentenceEncoder(Protocol):
    """Turns sentences into vectors."""

    @property
    def name(self) -> str:
        """Name stored with trained weights, which work with vectors of this encoder only."""
        ...

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the name stands for, as plain JSON data, to be stored beside it."""
        ...

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """Return (N, dim).

        Raises:
            DataError: A sentence is empty, or there is no vector for it.
        """
        ...


class EncoderMaker(Protocol):
    """Makes the encoder that settings name; see `make_encoder`."""

    def __call__(self, settings: SentenceSettings, *, dim: int) -> SentenceEncoder:
        """Make it."""
        ...


def make_encoder(settings: SentenceSettings, *, dim: int) -> SentenceEncoder:
    """Make the encoder that the settings name, except for text towers.

    Args:
        settings: Encoder and its options.
        dim: Length of the vectors that the model reads.

    Raises:
        ConfigError: There is no such encoder, or it is not installed.
        DataError: The file of vectors cannot be read, or its vectors have another length.
    """
    encoder: SentenceEncoder
    if settings.encoder == HASHED:
        return HashedEncoder(dim)
    if settings.encoder == GIVEN:
        if settings.file is None:
            raise ConfigError(
                "data.sentences.file is not set, and this data holds sentences without vectors; "
                "name a file of vectors, or another data.sentences.encoder (hashed)"
            )
        encoder = GivenVectors(settings.file, dims=settings.dims)
    elif settings.encoder.startswith(TRAINED):
        encoder = TrainedEncoder(settings.encoder)
    else:
        raise ConfigError(
            f"data.sentences.encoder: expected {HASHED}, {GIVEN} or {TRAINED}NAME; for the text "
            "tower of a CLIP or SigLIP model hf://OWNER/NAME or its folder; "
            f"got {settings.encoder!r}"
        )
    check_dim(encoder.dim, dim, f"data.sentences.encoder={settings.encoder}")
    return encoder


def check_dim(got: int, expected: int, source: str) -> None:
    """Check the length of sentence vectors.

    Raises:
        DataError: The model reads vectors of another length.
    """
    if got != expected:
        raise DataError(
            f"{source}: sentence vectors of {got} numbers, expected model.sentence_dim={expected}; "
            "are these the vectors the model was made for?"
        )


class GivenVectors:
    """Vectors from a file, one per sentence."""

    name = GIVEN
    facts: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, path: Path, *, dims: int | None = None) -> None:
        """Read the file.

        Args:
            path: See `SentenceSettings.file`.
            dims: Use only the first `dims` numbers of each vector.

        Raises:
            DataError: The file cannot be read, would run code, or vectors differ in length.
        """
        self.path = path
        self._vectors = {_plain(text): v[:dims] for text, v in _vectors_in(path).items()}
        lengths = {len(vector) for vector in self._vectors.values()}
        if len(lengths) != 1:
            raise DataError(
                f"{path}: vectors of {' and '.join(map(str, sorted(lengths))) or 'no'} numbers, "
                "expected one length"
            )
        self.dim = lengths.pop()

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """See `SentenceEncoder`."""
        found: list[NDArray[np.float32]] = []
        for sentence in sentences:
            vector = self._vectors.get(_plain(sentence))
            if vector is None:
                raise DataError(f"{self.path}: no vector for the sentence {sentence!r}")
            found.append(vector)
        return np.stack(found)


def _plain(sentence: str) -> str:
    return " ".join(sentence.split())


def _vectors_in(path: Path) -> Mapping[str, NDArray[np.float32]]:
    if path.suffix.lower() == ".npz":
        arrays = read_npz(path)
        texts, vectors = arrays.get("sentences"), arrays.get("vectors")
        if (
            texts is None
            or vectors is None
            or texts.shape[:1] != vectors.shape[:1]
            or not texts.ndim
        ):
            held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
            raise DataError(
                f"{path}: expected a .npz file with `sentences` and as many `vectors`, it holds "
                f"{held or 'nothing'}"
            )
        return {str(t): as_vector(v, path) for t, v in zip(texts, vectors, strict=True)}
    content = load_pickle(path)
    if not isinstance(content, dict) or not content:
        raise DataError(f"{path}: expected a dict from sentence to vector")
    pairs = cast("dict[Any, Any]", content).items()
    return {as_text(text): as_vector(vector, path) for text, vector in pairs}


def as_vector(value: Any, path: Path) -> NDArray[np.float32]:
    """Turn a value into a flat vector.

    Raises:
        DataError: It is not a list of finite numbers.
    """
    try:
        if np.iscomplexobj(value):
            raise TypeError  # numpy would drop the imaginary part
        with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused
            vector = np.asarray(value, np.float32).ravel()
    except (ValueError, TypeError, OverflowError):
        raise DataError(
            f"{path}: expected vectors of numbers, got {type(value).__name__}"
        ) from None
    if not len(vector) or not np.isfinite(vector).all():
        raise DataError(f"{path}: a vector is empty, or not all its values are finite numbers")
    return vector


class TrainedEncoder:
    """A model of the package sentence-transformers."""

    facts: Mapping[str, Any] = MappingProxyType({})

    def __init__(self, name: str) -> None:
        """Load the model.

        Args:
            name: `sentence-transformers:` followed by the name or the folder of a model.

        Raises:
            ConfigError: The package or the model is not there.
        """
        try:
            with libraries_held():
                package = importlib.import_module("sentence_transformers")
        except ImportError:
            raise ConfigError(
                f"data.sentences.encoder={name} needs sentence-transformers, which is not "
                "installed: pip install 'videozoo[sentences]'; the built-in encoder needs nothing: "
                f"--set data.sentences.encoder={HASHED}"
            ) from None
        wanted = name.removeprefix(TRAINED)
        try:
            self._model: Any = _from_cache_first(package.SentenceTransformer, wanted)
        except Exception as error:  # the hub raises many kinds
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            if is_offline() and not Path(wanted).exists():
                reason += " (downloads are switched off: VIDEOZOO_OFFLINE or HF_HUB_OFFLINE)"
            raise ConfigError(
                f"data.sentences.encoder={name}: cannot be loaded: {reason}"
            ) from None
        self.name = TRAINED + Path(wanted).name
        get_dim = getattr(self._model, "get_embedding_dimension", None)  # its name since version 6
        self.dim = int((get_dim or self._model.get_sentence_embedding_dimension)())

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """See `SentenceEncoder`."""
        for sentence in sentences:
            if not sentence.strip():
                raise DataError("the sentence is empty: it has no word to look for")
        found = self._model.encode(list(sentences), show_progress_bar=False, batch_size=64)
        return np.asarray(found, np.float32)


def _from_cache_first(load: Callable[..., Any], wanted: str) -> Any:
    """Load a model of sentence-transformers; what no user typed is not fetched unasked."""
    if not is_only_named():
        offline = {"local_files_only": True} if is_offline() else {}
        return load(wanted, device="cpu", **offline)
    if Path(wanted).exists() and (reason := code_refusal()):
        raise ConfigError(f"a folder of sentence-transformers may hold code, and {reason}")
    try:
        return load(wanted, device="cpu", local_files_only=True)
    except Exception:
        if Path(wanted).is_dir():
            raise
        if reason := refusal(f"{TRAINED}{wanted}"):
            raise ConfigError(f"not on this machine, and {reason}") from None
        return load(wanted, device="cpu")

"""Vectors of sentences: the built-in encoder, files, and what is not there."""

from __future__ import annotations

import pickle
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from videozoo.data.annotations.sentence_vectors import GivenVectors, HashedEncoder, make_encoder
from videozoo.errors import ConfigError, DataError
from videozoo.settings.moments import SentenceSettings

WORDS = st.lists(st.sampled_from(["a", "red", "blue", "ball", "box", "rises", "falls"]), min_size=1)


class Attack:
    """A pickle of it would run code."""

    def __reduce__(self):
        return print, ("it ran",)


def test_numbers_are_the_same_on_every_machine():
    vector = HashedEncoder(8).encode(["A red ball rises."])[0]

    assert vector.tolist() == pytest.approx(RECORDED, abs=1e-6)


RECORDED = [-0.730657, 0.072465, 0.259878, 0.219135, 0.170159, -0.430472, -0.340753, -0.122312]


@given(words=WORDS, dim=st.integers(1, 70))
def test_a_vector_has_length_one_whatever_its_words(words: list[str], dim: int):
    text = " ".join(words)

    one, loud = HashedEncoder(dim).encode([text, f"  {text.upper()}! "])

    assert one.shape == (dim,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-5) or not one.any()
    assert np.array_equal(one, loud)


def test_sentences_that_share_words_are_nearer():
    near, sentence, far = HashedEncoder(1024).encode(
        ["a red ball falls", "a red ball rises", "two dogs play outside"]
    )

    assert near @ sentence > 0.6 > 0.2 > far @ sentence


@pytest.mark.parametrize("text", ["", "   ", "?!"])
def test_an_empty_sentence_is_refused(text: str):
    with pytest.raises(DataError, match="is empty: it has no word to look for"):
        HashedEncoder(4).encode([text])


def test_given_vectors_come_from_pickles_and_npz(tmp_path: Path):
    texts, vectors = ["a man runs", "a dog"], np.arange(8, dtype=np.float32).reshape(2, 4)
    np.savez(tmp_path / "v.npz", sentences=np.array(texts), vectors=vectors)
    old = {text.encode(): vector for text, vector in zip(texts, vectors, strict=True)}
    (tmp_path / "v.pkl").write_bytes(pickle.dumps(old, protocol=2))

    for name in ("v.npz", "v.pkl"):
        encoder = make_encoder(SentenceSettings(encoder="given", file=tmp_path / name), dim=4)
        assert np.array_equal(encoder.encode(["a  dog ", "a man runs"]), vectors[::-1])
        assert encoder.name == "given"
    cut = GivenVectors(tmp_path / "v.npz", dims=3)
    assert cut.dim == 3
    with pytest.raises(DataError, match="no vector for the sentence 'a cat'"):
        cut.encode(["a cat"])


def test_vectors_of_another_length_are_refused(tmp_path: Path):
    np.savez(tmp_path / "v.npz", sentences=np.array(["a"]), vectors=np.ones((1, 4)))

    with pytest.raises(DataError, match=r"vectors of 4 numbers, expected model.sentence_dim=5"):
        make_encoder(SentenceSettings(encoder="given", file=tmp_path / "v.npz"), dim=5)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path):
    (tmp_path / "v.pkl").write_bytes(pickle.dumps({"a": Attack()}))

    with pytest.raises(DataError, match="refused: this pickle asks to run"):
        GivenVectors(tmp_path / "v.pkl")


def test_encoders_that_are_not_there_say_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)

    with pytest.raises(ConfigError, match=r"pip install 'videozoo\[sentences\]'"):
        make_encoder(SentenceSettings(encoder="sentence-transformers:x"), dim=4)
    with pytest.raises(ConfigError, match="expected hashed, given or sentence-transformers:NAME"):
        make_encoder(SentenceSettings(encoder="bert"), dim=4)
    with pytest.raises(ConfigError, match=r"data.sentences.file is not set"):
        make_encoder(SentenceSettings(encoder="given"), dim=4)


class Model:
    """Stands in for a model of sentence-transformers."""

    def __init__(self, name: str, device: str, local_files_only: bool = False) -> None:
        if name == "nowhere":
            raise OSError("no such model\nand much more")

    def get_sentence_embedding_dimension(self) -> int:
        return 3

    def encode(self, sentences: list[str], **_: object) -> list[list[float]]:
        return [[len(text), 0.0, 1.0] for text in sentences]


def test_a_trained_encoder_is_known_by_its_name(monkeypatch: pytest.MonkeyPatch):
    package = types.ModuleType("sentence_transformers")
    vars(package)["SentenceTransformer"] = Model
    monkeypatch.setitem(sys.modules, "sentence_transformers", package)

    encoder = make_encoder(SentenceSettings(encoder="sentence-transformers:a/b/mini"), dim=3)

    assert (encoder.name, encoder.dim) == ("sentence-transformers:mini", 3)
    assert encoder.encode(["ab"]).tolist() == [[2.0, 0.0, 1.0]]
    with pytest.raises(DataError, match="is empty"):
        encoder.encode([" "])
    off = r" \(downloads are switched off: VIDEOZOO_OFFLINE or HF_HUB_OFFLINE\)"
    for offline, end in (("1", off), ("0", "")):
        monkeypatch.setenv("VIDEOZOO_OFFLINE", offline)
        with pytest.raises(ConfigError, match=rf"cannot be loaded: no such model{end}$"):
            make_encoder(SentenceSettings(encoder="sentence-transformers:nowhere"), dim=3)
    with pytest.raises(DataError, match=r"vectors of 3 numbers, expected model\.sentence_dim=4"):
        make_encoder(SentenceSettings(encoder="sentence-transformers:mini"), dim=4)

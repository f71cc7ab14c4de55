"""Text towers of CLIP and SigLIP as sentence encoders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from videozoo.encoders.sentences import TextTower, make_sentence_encoder
from videozoo.errors import ConfigError, DataError, VideozooError, WeightsError
from videozoo.settings.moments import SentenceSettings

pytest.importorskip("transformers")
from tests.encoders.tiny_models import WORDS, build, change, save, word_tokenizer

SENTENCES = ["A man opens  the door", "the dog", "a dog runs"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    model = build("clip")
    folder = save(model, tmp_path_factory.mktemp("clip"))
    return word_tokenizer(folder, first="<start>", last="<end>"), model


@pytest.fixture(scope="module")
def siglip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    model = build("siglip")
    folder = save(model, tmp_path_factory.mktemp("siglip"))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "SiglipTokenizer", "pad_token": {"content": "</s>"}})
    )
    return word_tokenizer(folder, first=None, last="</s>"), model


def numbers(sentence: str) -> list[int]:
    return [3 + WORDS.index(word) for word in sentence.lower().split()]


def test_vectors_of_clip_are_those_of_its_text_model(clip: tuple[Path, Any]):
    folder, model = clip
    encoder = TextTower(str(folder))

    vectors = encoder.encode(SENTENCES)

    assert vectors.shape == (3, 20)
    assert vectors.dtype == np.float32
    for vector, sentence in zip(vectors, SENTENCES, strict=True):
        ids = torch.tensor([[0, *numbers(sentence), 1]])
        expected = model.text_projection(model.text_model(input_ids=ids).pooler_output)[0]
        np.testing.assert_allclose(vector, expected, atol=1e-4, rtol=1e-4)
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3


def test_vectors_of_siglip_read_sentences_filled_up_to_their_length(siglip: tuple[Path, Any]):
    folder, model = siglip
    encoder = TextTower(str(folder))

    vectors = encoder.encode([sentence + "!" for sentence in SENTENCES])

    assert vectors.shape == (3, 24)
    for vector, sentence in zip(vectors, SENTENCES, strict=True):
        row = [*numbers(sentence), 1]
        ids = torch.tensor([row + [1] * (16 - len(row))])
        expected = model.text_model(input_ids=ids).pooler_output[0]
        np.testing.assert_allclose(vector, expected, atol=1e-4, rtol=1e-4)


def test_later_siglip_keeps_punctuation_and_has_its_own_padding(
    siglip: tuple[Path, Any], tmp_path: Path
):
    folder = shutil.copytree(siglip[0], tmp_path / "later")
    change(
        folder / "tokenizer_config.json", tokenizer_class="GemmaTokenizerFast", pad_token="<pad>"
    )
    first, later = TextTower(str(siglip[0])), TextTower(str(folder))

    (vector,) = later.encode(["A dog"])

    ids = torch.tensor([[*numbers("a dog"), 1] + [0] * 13])
    expected = siglip[1].text_model(input_ids=ids).pooler_output[0]
    np.testing.assert_allclose(vector, expected, atol=1e-4, rtol=1e-4)
    assert not np.allclose(later.encode(["a dog!"]), vector)
    assert first.name != later.name


def test_the_name_tells_what_makes_the_vectors(clip: tuple[Path, Any], tmp_path: Path):
    first = TextTower(str(clip[0]))
    copy = shutil.copytree(clip[0], tmp_path / "copy")

    assert TextTower(str(copy)).name == first.name
    assert first.name.startswith("clip_text_model-")
    assert first.facts["reference"] == str(clip[0].resolve())
    assert json.loads(json.dumps(dict(first.facts))) == first.facts
    words = json.loads((copy / "tokenizer.json").read_text())
    words["model"]["vocab"]["dog"], words["model"]["vocab"]["man"] = 4, 8
    (copy / "tokenizer.json").write_text(json.dumps(words))
    assert TextTower(str(copy)).name != first.name


def test_settings_name_towers_and_the_other_encoders(
    clip: tuple[Path, Any], monkeypatch: pytest.MonkeyPatch
):
    settings = SentenceSettings(encoder=str(clip[0]))

    assert isinstance(make_sentence_encoder(settings, dim=20), TextTower)
    assert make_sentence_encoder(SentenceSettings(), dim=8).name == "hashed-1"
    with pytest.raises(DataError, match=r"vectors of 20 numbers, expected model.sentence_dim=512"):
        make_sentence_encoder(settings, dim=512)
    with pytest.raises(ConfigError, match=r"CLIP or SigLIP model hf://OWNER/NAME or its"):
        make_sentence_encoder(SentenceSettings(encoder="clip"), dim=8)
    with pytest.raises(WeightsError, match="downloads are switched off"):
        make_sentence_encoder(SentenceSettings(encoder="hf://me/clip"), dim=8)


def test_a_long_sentence_is_cut_with_a_warning(
    clip: tuple[Path, Any], caplog: pytest.LogCaptureFixture
):
    encoder = TextTower(str(clip[0]))

    long, short = encoder.encode(["dog " * 30, "dog " * 14])

    assert np.array_equal(long, short)
    assert caplog.text.count("reads 16 tokens; the end of this sentence is not seen") == 1


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_sentence_is_refused(clip: tuple[Path, Any], text: str):
    with pytest.raises(DataError, match="is empty: it has no word to look for"):
        TextTower(str(clip[0])).encode([text])
    assert TextTower(str(clip[0])).encode([]).shape == (0, 20)


def no_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def other_words(folder: Path) -> None:
    word_tokenizer(folder, first="<start>", last="<end>")
    words = json.loads((folder / "tokenizer.json").read_text())
    words["model"]["vocab"]["dog"] = 60
    (folder / "tokenizer.json").write_text(json.dumps(words))


def other_end(folder: Path) -> None:
    change(folder / "config.json", text_config={**text_config(folder), "eos_token_id": 5})


def huge(folder: Path) -> None:
    change(folder / "config.json", text_config={**text_config(folder), "vocab_size": 1 << 24})


def code(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": "a.B"}}')


def no_json(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def of_images(folder: Path) -> None:
    change(folder / "config.json", model_type="vit")


def text_config(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "config.json").read_text())["text_config"]


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (no_tokenizer, "holds no tokenizer.json, or vocab.json and merges.txt"),
        (other_words, "gives token 60"),
        (other_end, "ends a sentence with token 1, its network waits for token 5"),
        (huge, "describes a network of"),
        (code, "needs code of its own"),
        (no_json, "tokenizer.json cannot be read"),
        (of_images, "a model of type 'vit'; expected one of clip, clip_text_model"),
    ],
)
def test_what_does_not_fit_is_refused(
    clip: tuple[Path, Any], tmp_path: Path, spoil: Callable[[Path], None], says: str
):
    folder = shutil.copytree(clip[0], tmp_path / "spoilt")
    spoil(folder)

    with pytest.raises(VideozooError) as caught:
        TextTower(str(folder)).encode(["a dog"])

    assert says in str(caught.value)
    assert str(caught.value).startswith(str(folder))


def test_old_files_of_clips_words_are_read(clip: tuple[Path, Any], tmp_path: Path):
    folder = shutil.copytree(clip[0], tmp_path / "old")
    (folder / "tokenizer.json").unlink()
    names = ["<|startoftext|>", "<|endoftext|>", "a</w>", "d", "o", "g</w>", "do", "dog</w>"]
    (folder / "vocab.json").write_text(json.dumps({name: i for i, name in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\nd o\ndo g</w>\n")

    (vector,) = TextTower(str(folder)).encode(["A dog"])

    ids = torch.tensor([[0, 2, 7, 1]])
    expected = clip[1].text_projection(clip[1].text_model(input_ids=ids).pooler_output)[0]
    np.testing.assert_allclose(vector, expected, atol=1e-4, rtol=1e-4)

"""Sentence encoders: the text towers of CLIP and SigLIP, beside those of `sentence_vectors`.

    encoder = TextTower("hf://openai/clip-vit-base-patch32")
    vectors = encoder.encode(["a man opens a door"])     # (1, 512)

A vector is what the model compares with its vectors of images: features of the same model by
`hugging_face` (CLIP's `projection`, SigLIP's `pooler`) lie in the same space.
"""

from __future__ import annotations

import hashlib
import json
import logging
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from videozoo.commands import quoted
from videozoo.data.annotations.sentence_vectors import (
    EncoderMaker,
    SentenceEncoder,
    check_dim,
    make_encoder,
)
from videozoo.encoders._transformers import (
    check_tokens,
    import_transformers,
    load_network,
    make_config,
    model_type,
    need_transformers,
    used_tensors,
    whole_number,
)
from videozoo.errors import DataError, WeightsError, brief
from videozoo.network import named_in
from videozoo.settings.moments import SentenceSettings
from videozoo.weights import hub
from videozoo.weights.model_folder import CONFIG, ModelFolder, tensors_sha256

_TOKENIZER, _TOKENIZER_CONFIG = "tokenizer.json", "tokenizer_config.json"
_VOCABULARY, _MERGES = "vocab.json", "merges.txt"
_AT_ONCE = 64
_OLD_END = 2  # old configurations of CLIP give this as the last token, and mean the highest one
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Tower:
    """A kind of text tower."""

    config: str
    network: str
    skip: tuple[str, ...]
    is_clip: bool


_CLIP = _Tower(
    "CLIPTextConfig",
    "CLIPTextModelWithProjection",
    ("vision_model.", "visual_projection.", "logit_scale"),
    is_clip=True,
)
_SIGLIP = _Tower(
    "SiglipTextConfig",
    "SiglipTextModel",
    ("vision_model.", "logit_scale", "logit_bias"),
    is_clip=False,
)
_TOWERS = {
    "clip": _CLIP,
    "clip_text_model": _CLIP,
    "siglip": _SIGLIP,
    "siglip_text_model": _SIGLIP,
}


def make_sentence_encoder(settings: SentenceSettings, *, dim: int) -> SentenceEncoder:
    """Make the sentence encoder that the settings name, of any kind.

    Args:
        settings: Encoder and its options.
        dim: Length of the vectors that the model reads.

    Raises:
        ConfigError: There is no such encoder, or it is not installed.
        WeightsError: The text tower cannot be read.
        DataError: Its vectors, or those of the file, have another length.
    """
    name = settings.encoder
    if not (name.startswith(hub.PREFIX) or Path(name).is_dir()):
        return make_encoder(settings, dim=dim)
    encoder = TextTower(name)
    check_dim(encoder.dim, dim, f"data.sentences.encoder={name}")
    return encoder


def sentence_encoder_maker(named_by: str, *, may_be_code: bool) -> EncoderMaker:
    """`make_sentence_encoder` for settings that may not be the user's.

    Args:
        named_by: The weights or the run that alone name the encoder: then it is not fetched
            unasked. Empty if the user names it.
        may_be_code: Whether they lie in a run folder that the user trusts to name code, as
            sentence-transformers runs it.
    """

    def make(settings: SentenceSettings, *, dim: int) -> SentenceEncoder:
        instead = f"--set data.sentences.encoder={quoted(settings.encoder)}"
        with named_in(named_by, instead=instead, may_be_code=may_be_code):
            return make_sentence_encoder(settings, dim=dim)

    return make


class TextTower:
    """The network of CLIP or SigLIP that reads sentences.

    Attributes:
        name: Says which network and tokeniser it is, wherever their files are.
        dim: Length of a vector.
        facts: All that a vector depends on, and where the files came from.
    """

    def __init__(self, text: str) -> None:
        """Load the network, and the tokeniser from `tokenizer.json` (CLIP: or from `vocab.json` and
        `merges.txt`).

        Args:
            text: A folder, or `hf://OWNER/NAME[@REVISION]`.

        Raises:
            ConfigError: The package transformers is not installed.
            WeightsError: There is no such model, it has no text tower, or its files are damaged.
        """
        need_transformers(text)
        folder = ModelFolder(text)
        content = folder.json(CONFIG) or {}
        kind = model_type(folder, content, _TOWERS)
        tower = _TOWERS[kind]
        transformers = import_transformers(text)
        config, settings = make_config(
            transformers,
            tower.config,
            _text_part(content, folder),
            folder,
            more=("bos_token_id", "eos_token_id", "pad_token_id"),
        )
        length = whole_number(config, "max_position_embeddings", folder)
        check_tokens(length, whole_number(config, "hidden_size", folder), folder)
        self._words = _Words(folder, config, transformers, length=length, is_clip=tower.is_clip)
        names = [name for name in folder.tensors() if not name.startswith(tower.skip)]
        self._network = load_network(transformers, tower.network, config, folder, names)
        self._is_clip = tower.is_clip
        size = config.projection_dim if tower.is_clip else getattr(config, "projection_size", None)
        self.dim = int(size or config.hidden_size)
        facts = {
            "model": "clip_text_model" if tower.is_clip else "siglip_text_model",
            "settings": settings,
            "weights_sha256": tensors_sha256(used_tensors(self._network)),
            "words_sha256": self._words.sha256,
            "dim": self.dim,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.name = f"{facts['model']}-{digest[:16]}"
        self.facts: Mapping[str, Any] = {**facts, "reference": folder.reference}

    def encode(self, sentences: Sequence[str]) -> NDArray[np.float32]:
        """See `SentenceEncoder`."""
        vectors: list[NDArray[np.float32]] = []
        for start in range(0, len(sentences), _AT_ONCE):
            tokens = self._words.tokens(sentences[start : start + _AT_ONCE])
            with torch.inference_mode():
                outputs = self._network(input_ids=tokens)
            found = outputs.text_embeds if self._is_clip else outputs.pooler_output
            vectors.append(found.float().numpy())
        if not vectors:
            return np.empty((0, self.dim), np.float32)
        return np.concatenate(vectors)


def _text_part(content: Mapping[str, Any], folder: ModelFolder) -> dict[str, Any]:
    """The configuration of the text tower."""
    if "text_config" not in content:
        return dict(content)
    part = content["text_config"]
    if not isinstance(part, dict):
        raise WeightsError(f"{folder.text}: config.json has no table text_config")
    part = cast("dict[str, Any]", part)
    if "projection_dim" in content:  # the outer one counts
        part = {**part, "projection_dim": content["projection_dim"]}
    return part


class _Words:
    """A tokeniser: from sentences to numbers of tokens, as the network was trained with."""

    def __init__(
        self,
        folder: ModelFolder,
        config: Any,
        transformers: Any,
        *,
        length: int,
        is_clip: bool,
    ) -> None:
        self._where = folder.text
        self._is_clip, self._length = is_clip, length
        about = folder.json(_TOKENIZER_CONFIG) or {}
        if about.get("auto_map"):
            raise WeightsError(f"{folder.text}: its tokeniser needs code of its own")
        self._tokenizer, content = _tokenizer(folder, transformers, is_clip=is_clip)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=length)
        self._size = whole_number(config, "vocab_size", folder)
        self._end = int(config.eos_token_id or 0)
        if is_clip and self._end == _OLD_END:
            self._end = self._size - 1
        # SigLIP was trained on small letters, its first version without punctuation
        kind = str(about.get("tokenizer_class") or "SiglipTokenizer")
        self._drops_punctuation = not is_clip and kind.startswith("SiglipTokenizer")
        self._is_left = not is_clip and about.get("padding_side") == "left"
        self._fill = 0 if self._end else 1
        if not is_clip:
            self._fill = self._pad_token(about, config)
        rule = [self._drops_punctuation, self._is_left, self._fill, length]
        self.sha256 = hashlib.sha256(content + json.dumps(rule).encode()).hexdigest()

    def _pad_token(self, about: Mapping[str, Any], config: Any) -> int:
        given = about.get("pad_token")
        if isinstance(given, dict):
            given = cast("dict[str, Any]", given).get("content")
        found = None if given is None else self._tokenizer.token_to_id(str(given))
        number = config.pad_token_id if found is None else found
        if not isinstance(number, int) or not 0 <= number < self._size:
            raise WeightsError(
                f"{self._where}: the token that fills short sentences up is {brief(given)}, which "
                f"is not among its {self._size} tokens"
            )
        return number

    def tokens(self, sentences: Sequence[str]) -> torch.Tensor:
        """Numbers of tokens, (N, L)."""
        rows: list[list[int]] = []
        for sentence in sentences:
            text = self._plain(sentence)
            if not text.strip():
                raise DataError(f"the sentence {sentence!r} is empty: it has no word to look for")
            encoded = self._tokenizer.encode(text)
            if encoded.overflowing:
                _log.warning(
                    "%s: reads %d tokens; the end of this sentence is not seen: %s",
                    *(self._where, self._length, brief(sentence)),
                )
            rows.append(self._checked(list(encoded.ids)))
        longest = max(map(len, rows)) if self._is_clip else self._length
        filled = [[self._fill] * (longest - len(row)) for row in rows]
        if self._is_left:
            rows = [fill + row for fill, row in zip(filled, rows, strict=True)]
        else:
            rows = [row + fill for fill, row in zip(filled, rows, strict=True)]
        return torch.tensor(rows)

    def _checked(self, row: list[int]) -> list[int]:
        if not row or max(row) >= self._size or len(row) > self._length:
            raise WeightsError(
                f"{self._where}: its tokeniser gives token {max(row, default=0)} and {len(row)} "
                f"tokens, its network knows {self._size} tokens and reads {self._length}; are the "
                "files of one model?"
            )
        if self._is_clip and row[-1] != self._end:
            raise WeightsError(
                f"{self._where}: its tokeniser ends a sentence with token {row[-1]}, its network "
                f"waits for token {self._end}; are the files of one model?"
            )
        return row

    def _plain(self, sentence: str) -> str:
        text = " ".join(sentence.split())
        if self._is_clip:
            return text
        text = text.lower()
        if self._drops_punctuation:
            text = text.translate(str.maketrans("", "", string.punctuation))
        return " ".join(text.split())


def _tokenizer(folder: ModelFolder, transformers: Any, *, is_clip: bool) -> tuple[Any, bytes]:
    """A tokeniser of the package tokenizers, and the bytes that it was made of."""
    from tokenizers import Tokenizer

    names = [_TOKENIZER] if folder.find(_TOKENIZER) is not None else []
    if not names and is_clip:
        names = [_VOCABULARY, _MERGES]
    paths = [folder.find(name) for name in names]
    if not paths or None in paths:
        expected = f"{_TOKENIZER}" + (f", or {_VOCABULARY} and {_MERGES}" if is_clip else "")
        raise WeightsError(
            f"{folder.text}: holds no {expected}, so sentences cannot be split into tokens"
        )
    files = cast("list[Path]", paths)
    try:
        content = b"".join(file.read_bytes() for file in files)
        if len(files) == 1:
            return Tokenizer.from_file(str(files[0])), content
        made = transformers.CLIPTokenizerFast.from_pretrained(
            str(files[0].parent), local_files_only=True
        )
        return made.backend_tokenizer, content
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # plain Exceptions, and panics of Rust, which are not even those
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{folder.text}: {' and '.join(names)} cannot be read: {reason}"
        ) from None

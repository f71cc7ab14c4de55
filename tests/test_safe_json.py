"""JSON of others gives its value, or one error of the reader that asked for it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.segment_results import read_class_scores, read_results
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.sentences import read_timed_sentences
from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.features.record_formats import open_records
from videozoo.errors import VideozooError
from videozoo.safe_json import MOST_DEPTH, parse_json
from videozoo.tasks.localisation import measures
from videozoo.weights.files import read_metadata

HOSTILE = {
    "too deep to parse": "[" * 100_000,
    "parsed, but too deep to work with": '{"a":' * 500 + "1" + "}" * 500,
    "a number of 10,000 digits": '{"a": ' + "9" * 10_000 + "}",
    "a number that no float holds": '{"a": ' + "9" * 400 + "}",
    "not JSON": "{'a': 1}",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_json_is_a_value_error(text: str) -> None:
    for given in (text, text.encode()):
        with pytest.raises(ValueError, match=r"nested too deep|digits|Expecting"):
            parse_json(given)


def test_bytes_that_are_not_utf8_are_a_value_error() -> None:
    with pytest.raises(ValueError, match="utf-8"):
        parse_json(b'"\xff"')


def test_what_is_written_for_a_purpose_is_read_as_ever() -> None:
    deep = "[" * MOST_DEPTH + "]" * MOST_DEPTH
    assert parse_json(deep) != []
    text = '{"a": [1, -2.5, 1e3, NaN, null, true], "b": {"c": "[[[[{{{{"}, "n": 9007199254740993}'
    found = parse_json(text)
    assert found["a"][:3] == [1, -2.5, 1000.0]
    assert found["n"] == 9007199254740993
    assert parse_json('{"a": 1, "a": 2}', pairs_hook=list) == [("a", 1), ("a", 2)]
    assert parse_json('["12345678901234567890123", 7]') == ["12345678901234567890123", 7]


READERS: dict[str, Callable[[Path], Any]] = {
    "annotations": lambda path: read_annotations(path),
    "results": read_results,
    "class scores": read_class_scores,
    "labels for detections": measures.read_labels,
    "sentences": read_timed_sentences,
    "labels of videos": read_labels,
    "class names": read_class_names,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("read", READERS.values(), ids=READERS)
def test_every_reader_of_json_names_the_file(
    tmp_path: Path, read: Callable[[Path], Any], text: str
) -> None:
    path = tmp_path / "hostile.json"
    path.write_text(text)
    with pytest.raises(VideozooError, match=r"hostile\.json: (not valid JSON|line 1)"):
        read(path)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_packs_and_weights_name_the_file(tmp_path: Path, text: str) -> None:
    pack = tmp_path / "pack"
    pack.mkdir()
    (pack / "manifest.json").write_text(text)
    with pytest.raises(VideozooError, match=r"manifest\.json: not valid JSON"):
        open_records(pack)

    import torch
    from safetensors.torch import save_file

    weights = tmp_path / "w.safetensors"
    save_file({"a": torch.zeros(1)}, weights, metadata={"videozoo": text})
    with pytest.raises(VideozooError, match=r"w\.safetensors"):
        read_metadata(weights)

"""Every output can carry every name, whatever bytes it is made of."""

import io
import json

import pytest

from videozoo.safe_names import any_encoding, json_bytes, json_pieces, shown

LATIN = b"caf\xe9.mp4".decode("utf-8", "surrogateescape")
WHOLE = "żółw ✓.mp4"


def test_people_see_odd_bytes_and_programs_get_them_back():
    assert shown(f"{LATIN}\x1b[2J\n") == "caf\\xe9.mp4?[2J?"
    assert shown("half \ud83d") == "half \\ud83d"
    for name in (LATIN, WHOLE, "half \ud83d", "\udce9\ud83d"):
        written = json_bytes({name: [name]}, indent=1)
        assert json.loads(written.decode("utf-8")) == {name: [name]}


def test_utf_8_names_are_whole_where_the_system_takes_them_for_odd_bytes():
    taken_apart = WHOLE.encode().decode("ascii", "surrogateescape")

    assert shown(taken_apart) == WHOLE
    assert json.loads(json_bytes(taken_apart)) == WHOLE


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "█ … żółw caf\\xe9.mp4"),
        ("cp1252", "# … \\u017có\\u0142w caf\\xe9.mp4"),
        ("ascii", "# ~ \\u017c\\u00f3\\u0142w caf\\xe9.mp4"),
    ],
)
def test_a_stream_of_any_encoding_takes_any_text(encoding: str, expected: str):
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding)

    with any_encoding(stream):
        print(f"█ … żółw {LATIN}", file=stream, end="")

    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    assert stream.buffer.getvalue().decode(encoding) == expected
    assert stream.errors == "strict"


def test_json_in_pieces_is_json():
    value = [{"number": number, "name": "caf\udce9"} for number in range(10_000)]

    pieces = list(json_pieces(value, indent=1))

    assert len(pieces) > 2
    assert json.loads(b"".join(pieces)) == value

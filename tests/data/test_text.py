"""CSV files and lists of others: one plain error for rows and numbers that cannot be."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from videozoo.cli import main
from videozoo.data.annotations.class_names import read_class_names
from videozoo.data.annotations.list_labels import own_class_names
from videozoo.data.annotations.segments import read_annotations
from videozoo.data.annotations.video_labels import read_labels
from videozoo.data.annotations.videos import read_list
from videozoo.data.features.by_name import FeatureFiles
from videozoo.data.format_traits import traits_of
from videozoo.data.text import is_text, json_of, lines_of, text_of
from videozoo.errors import DataError

OPEN_QUOTE = '"' + "x," * 100_000
KINETICS = "label,youtube_id,time_start,time_end,split\n"


@pytest.mark.parametrize(
    ("heading", "read"),
    [
        (KINETICS, own_class_names),
        ("Index,Name\n", read_class_names),
        ("video,type,t-start,t-end\n", read_annotations),
        ("video,start,end,label\n", read_annotations),
        ("id,length,actions\n", read_annotations),
    ],
)
def test_a_quotation_mark_left_open_is_named_with_its_line(
    tmp_path: Path, heading: str, read: Callable[[Path], Any]
) -> None:
    path = tmp_path / "hostile.csv"
    path.write_text(heading + OPEN_QUOTE)
    with pytest.raises(DataError, match=r"hostile\.csv:2: not a row of a table"):
        read(path)


def read_features(path: Path) -> Any:
    return FeatureFiles(path).read(path.stem)


@pytest.mark.parametrize("text", [OPEN_QUOTE, "a\0b,c\n" * 3, "x" * 1_000_000, "\x80\xff" * 1000])
@pytest.mark.parametrize(
    "read",
    [
        read_list,
        read_annotations,
        read_labels,
        read_features,
    ],
)
def test_what_is_no_table_is_one_short_error(
    tmp_path: Path, read: Callable[[Path], Any], text: str
) -> None:
    path = tmp_path / "hostile.csv"
    path.write_bytes(text.encode("latin1"))
    with pytest.raises(DataError, match=r"hostile\.csv") as raised:
        read(path)
    assert len(str(raised.value)) < 7000


@pytest.mark.parametrize(
    "row",
    [
        "a,b,0,1e309,train",
        "a,b,nan,1,train",
        "a,b,99999999999999999999,1e309,train",
        "a,b",
        ",,,,,,,,",
    ],
)
def test_times_that_cannot_be_are_named_with_their_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: str
) -> None:
    path = tmp_path / "hostile.csv"
    path.write_text(f"{KINETICS}a,xyz,0,10,train\n{row}\n")
    with pytest.raises(DataError, match=r"hostile\.csv:3: "):
        read_list(path)
    main(["check-data", str(path)])
    assert "fault of videozoo" not in capsys.readouterr().err


def test_a_number_of_many_digits_is_no_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.mp4").touch()
    path = tmp_path / "hostile.list"
    path.write_text(f"a.mp4 {'9' * 10_000}\n")
    for read in (read_list, read_labels):
        with pytest.raises(DataError, match=r"hostile\.list:1: "):
            read(path)
    read_class_names(path)
    assert main(["check-data", str(path)]) == 1
    assert "fault of videozoo" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no /dev/zero")
@pytest.mark.timeout(20)
def test_a_device_that_never_ends_is_not_read(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("/dev/zero")
    for read in (read_class_names, read_list, read_annotations):
        with pytest.raises(DataError, match="/dev/zero"):
            read(path)
    assert main(["config", "show", str(path)]) == 1
    assert "/dev/zero: cannot be read: is a device, expected a file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('{"a": [1, 2,]}', "; remove the comma before the closing bracket"),
        ('{"a": 1,\n}', "remove the comma before the closing bracket"),
        ('{"a": 1, // one\n "b": 2}', "JSON has no comments: remove it"),
        ('# mine\n{"a": 1}', "JSON has no comments: remove it"),
        ("{'a': 1}", "JSON has double quotation marks"),
        ('{"a": None}', "JSON has null, true, false and numbers"),
        ('{"a":', "after"),
    ],
)
def test_what_json_does_not_have_is_told_with_its_place(text: str, advice: str):
    with pytest.raises(DataError, match=f"a.json: not valid JSON: .*line [12] column.*{advice}"):
        json_of(Path("a.json"), text)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32", "utf-8-sig"])
def test_texts_of_other_systems_are_read_by_their_mark(tmp_path: Path, encoding: str):
    path = tmp_path / "a.csv"
    written = "video,label\r\n\u010d\u0d0d.mp4,se\u00f1al\r\n"
    mark = "\ufeff" if encoding[-2:] in ("be", "le") else ""
    path.write_bytes((mark + written).encode(encoding))

    assert text_of(path) == written.replace("\r\n", "\n")
    assert is_text(path)
    assert traits_of(path).keys == {"video", "label"}


def test_a_damaged_or_unmarked_text_of_two_bytes_per_letter_is_one_error(tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_bytes("run/a.mp4 0\n".encode("utf-16")[:-1])
    with pytest.raises(
        DataError, match=r"first bytes say UTF-16, but it is not .*save it as UTF-8"
    ):
        text_of(path)

    path.write_bytes("run/a.mp4 0\n".encode("utf-16-le"))
    with pytest.raises(DataError, match=r"not a text file; .*; is it UTF-16"):
        lines_of(path)


@pytest.mark.parametrize(
    "command",
    [
        "check-data PIPE",
        "check-data PIPE --kind videos",
        "score PIPE --truth FILE",
        "score FILE --truth PIPE",
        "convert PIPE out.json --to activitynet",
    ],
)
def test_a_pipe_is_refused_at_once(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
):
    pipe, file = tmp_path / "a.csv", tmp_path / "b.csv"
    os.mkfifo(pipe)  # nobody writes into it: to open it would wait for ever
    file.write_text("video,start,end,label,score\na,1,2,run,1\n")
    words = [{"PIPE": str(pipe), "FILE": str(file)}.get(word, word) for word in command.split()]

    assert main(words) == 1

    assert "a.csv: is a pipe, which can be read only once" in capsys.readouterr().err

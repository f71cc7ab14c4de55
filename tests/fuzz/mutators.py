"""Damage to files: of their bytes, and of what they mean. A mutator is (random numbers, content) to
content."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import re
import struct
import tarfile
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, cast

import numpy as np
import yaml

from videozoo.data.features._tfrecord import checksum

Mutator = Callable[[Random, bytes], bytes]

MOST_BYTES = 400_000
"""Of a mutated file; larger ones are cut."""

# --- any file --------------------------------------------------------------------------------


def mutate_bytes(rng: Random, content: bytes) -> bytes:
    """Flip, cut, repeat, insert and overwrite bytes, in one to four places."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        count = rng.choice((1, 1, 2, 4, 8, rng.randint(1, max(1, len(data)))))
        match rng.randrange(7):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at : at + count] = rng.randbytes(min(count, 64))
            case 2:
                del data[at : at + count]
            case 3:
                data[at:at] = data[at : at + count] * rng.choice((1, 1, 2, 100))
            case 4:
                del data[at:]
            case 5:
                data[at : at + 4] = rng.choice(_WORDS)
            case _:
                other = rng.randrange(len(data) + 1)
                data[at : at + count] = data[other : other + count]
    return bytes(data[:MOST_BYTES])


_WORDS = (
    b"\0\0\0\0",
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\0\0\0\x80",
    b"\0\0\1\0",
    b"\xed\xa0\x80\n",
)

# --- JSON ------------------------------------------------------------------------------------


class Raw(str):
    """JSON text to be written as it is."""


class Pairs(list[tuple[str, Any]]):
    """An object of JSON, which may have a key twice."""


ODD = (
    *map(Raw, ("NaN", "Infinity", "-Infinity", "1e400", "-1e400", "1e308", "1e-320", "-0.0")),
    *map(Raw, ("0", "1", "-1", "0.5", "1e9", "4294967296", "9223372036854775807", "1" * 30)),
    *map(Raw, ("9" * 5000, "null", "true", "false", "[]", "{}", "[[]]", "[null]", '{"a": 1}')),
    *map(Raw, ("[" * 40 + "]" * 40, "[" * 3000 + "]" * 3000, '{"a":' * 90 + "1" + "}" * 90)),
    *map(Raw, ('"\\ud800"', '"\\u0000"', '""', '" "', '"nan"', '"1e999"', '"-1"', '"00:01:00"')),
    *map(Raw, ('"٣"', '"a\\nb"', '"../../x"', '"/dev/zero"', '"x.mp4"', '"1_000"', '"True"')),
    *map(Raw, ('"' + "a" * 3000 + '"', "[0, 0]", "[2.5, 1]", "[1, 1e300]", "[1, NaN]", "[-5, -1]")),
)


def mutate_json(rng: Random, content: bytes) -> bytes:
    """Change values, keys and places of a JSON value, or of lines of JSON."""
    text = content.decode("utf-8", "surrogateescape")
    try:
        value = json.loads(text, object_pairs_hook=Pairs)
    except ValueError:
        lines = text.split("\n")
        at = rng.randrange(len(lines))
        try:
            value = json.loads(lines[at], object_pairs_hook=Pairs)
        except ValueError:
            return mutate_table(rng, content)
        if rng.random() < 0.2:
            lines[rng.randrange(len(lines))] = lines[at]
        lines[at] = _json(_changed(rng, value))
        text = "\n".join(lines)
    else:
        text = _json(_changed(rng, value))
    return text.encode("utf-8", "surrogateescape")[:MOST_BYTES]


def _changed(rng: Random, value: Any) -> Any:
    holder: list[Any] = [value]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        inner, at = rng.choice(list(_places(holder)))
        _change(rng, inner, at)
    return holder[0]


def _places(holder: Any) -> Iterator[tuple[Any, int]]:
    for at, one in enumerate(holder):
        yield holder, at
        inner = one[1] if isinstance(holder, Pairs) else one
        if isinstance(inner, list):
            yield from _places(inner)


def _change(rng: Random, holder: Any, at: int) -> None:
    def put(value: Any) -> None:
        holder[at] = (holder[at][0], value) if isinstance(holder, Pairs) else value

    value = holder[at][1] if isinstance(holder, Pairs) else holder[at]
    what = rng.randrange(12)
    if what < 4:
        put(rng.choice(ODD))
    elif what == 4 and isinstance(value, int | float):
        put(value * rng.choice((-1, 0, 1000, 1e-3, 1e9, 1.0, 25)))
    elif what == 4 and isinstance(value, str):
        put(rng.choice((value * 2, value.upper(), f" {value} ", f"v_{value}", value[:-1])))
    elif what == 5:
        put(str(value) if rng.random() < 0.5 else [value])
    elif what == 6 and isinstance(value, list) and value:
        put(type(value)(value * rng.choice((2, 50, 500)))[:2000])
    elif what == 7 and isinstance(value, list):
        rng.shuffle(value)
    elif what == 8 and isinstance(holder, Pairs):
        key = holder[at][0]
        keys = (key.upper(), "", key + "s", "__class__", "\ud800", "1", "video", "-1", "NaN")
        holder[at] = (rng.choice(keys), value)
    elif what == 9 and isinstance(holder, Pairs):
        holder.append(holder[at])  # the key is there twice
    elif what == 10 and len(holder) > 1:
        del holder[at]
    else:
        other = rng.choice(list(_places([value]))) if isinstance(value, list) else None
        put(value if other is None else other[0][other[1]])


def _json(value: Any) -> str:
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Pairs):
        return "{" + ", ".join(f"{json.dumps(key)}: {_json(one)}" for key, one in value) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_json, cast("list[Any]", value))) + "]"
    return json.dumps(value)


# --- tables and lines ------------------------------------------------------------------------

_CELLS = (
    *("", " ", "nan", "inf", "-inf", "-1", "0", "1", "1e9", "1e308", "1e999", "-1e999", "1e-400"),
    *(
        "9" * 400,
        "9" * 5000,
        "4294967296",
        "9223372036854775808",
        "0x10",
        "1_000",
        "1,5",
        "٣",
        "1.",
    ),
    *(
        '"',
        '"a',
        '""',
        "'",
        "a\0b",
        "a" * 140_000,
        "\udcff",
        "\ufeff",
        "NULL",
        "None",
        "True",
        "##",
    ),
    *("..", "/etc/passwd", "/dev/zero", "file:///x", "http://x/y", "*", "~", "-", "--help", "%s"),
    *(
        "61:61:61",
        "00:00:01.5",
        "1:2:3:4",
        "1-2",
        "1;2",
        "c1 2 3",
        "[1, 2]",
        "{}",
        "\x1b[31m",
        "\r",
    ),
)
_SIGNS = (",", "\t", ";", " ", "##", ":")


def mutate_table(rng: Random, content: bytes) -> bytes:
    """Change cells, rows, columns, signs and ends of lines of text."""
    text = content.decode("utf-8", "surrogateescape")
    sign = max(_SIGNS[:4], key=text.count)
    rows = [line.split(sign) for line in text.split("\n")]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        row = rng.choice(rows)
        at = rng.randrange(len(row)) if row else 0
        match rng.randrange(13):
            case 0 | 1 | 2 | 3 if row:
                row[at] = rng.choice(_CELLS)
            case 4 if row:
                row[at] = rng.choice(rng.choice(rows) or [""])
            case 5 if row:
                del row[at]
            case 6:
                row.insert(at, rng.choice(_CELLS))
            case 7:
                rows.insert(rng.randrange(len(rows) + 1), list(row))
            case 8 if len(rows) > 1:
                rows.remove(row)
            case 9:
                rows = [each[:at] + each[at + 1 :] for each in rows] or [[]]
            case 10 if row:
                row[at] = row[at].swapcase() if rng.random() < 0.5 else row[at] + rng.choice(_SIGNS)
            case 11:
                rows *= rng.choice((2, 2, 300))
            case _:
                rng.shuffle(rows)
    ending = rng.choice(("\n",) * 8 + ("\r", "\r\n", "\n\n"))
    joined = ending.join((sign if rng.random() < 0.995 else ";").join(row) for row in rows)
    start = rng.choice(("",) * 12 + ("\ufeff", "\n\n", "#", "\0"))
    return (start + joined).encode(
        "utf-8", "surrogatepass" if "\ud800" in joined else "surrogateescape"
    )[:MOST_BYTES]


# --- YAML ------------------------------------------------------------------------------------

_SCALARS = (
    *("", "~", "null", "yes", "0", "-1", "1", "1e9", "1000000000", "9" * 30, "9" * 5000, "0x7f"),
    *(".inf", "-.inf", ".nan", "1e400", "2020-01-01", "2020-13-45 99:99:99", "59:59", "190:20:30"),
    *("!!python/object/apply:os.system [x]", "!!binary aGk=", "!!set {a}", "!!float x", "!x y"),
    *("[" * 50 + "]" * 50, "[" * 20_000, "{a: " * 60 + "1" + "}" * 60, "&a [*a]", "*none", "{}"),
    *("[]", "[1, 2]", "{a: 1}", "'", '"', "|", ">", "? a", "- a", "a: b: c", "@", "%", "\t", "\0"),
    *(
        "<<: {a: 1}",
        "../x",
        "/dev/zero",
        "a" * 3000,
        "\ud800",
        "auto",
        "32",
        "0.5",
        "1e-9",
        "65536",
    ),
)
_BOMB = (
    "bomb: ["
    + ", ".join(
        f"&{after} [{', '.join([f'*{before}'] * 9 if before else ['x'] * 9)}]"
        for before, after in zip(["", *"abcdefg"], "abcdefgh", strict=True)
    )
    + "]"
)
_MERGES = "a: &a {x: 1}\n" + "\n".join(
    f"{name}: &{name} {{<<: [{', '.join(['*' + before] * 20)}], {name}: 1}}"
    for before, name in zip("abcdefg", "bcdefgh", strict=True)
)


def mutate_yaml(rng: Random, content: bytes) -> bytes:
    """Change values, keys, indents and lines of a YAML file; add bombs."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        at = rng.randrange(len(lines))
        key, colon, value = lines[at].partition(": ")
        match rng.randrange(12):
            case 0 | 1 | 2 | 3 | 4 if colon:
                lines[at] = f"{key}: {rng.choice(_SCALARS)}"
            case 5:
                lines[at] = re.sub(r"-?[0-9.]+", lambda _: rng.choice(_SCALARS), lines[at])
            case 6:
                lines[at] = " " * rng.randrange(5) + lines[at].lstrip()
            case 7:
                lines.insert(rng.randrange(len(lines) + 1), lines[at])
            case 8:
                del lines[at]
                lines = lines or [""]
            case 9:
                lines.append(rng.choice((_BOMB, _MERGES, "---", "...", "x" * 300_000)))
            case 10 if colon:
                lines[at] = f"{rng.choice((*_SCALARS[:30], key + 's', 'name'))}: {value}"
            case _:
                lines[at] += rng.choice((" #", ":", " &x", "]", "}", "\t", "  - y"))
    return "\n".join(lines).encode("utf-8", "replace")[:MOST_BYTES]


_SETTINGS: tuple[Any, ...] = (
    *(0, 1, 2, 3, 7, 64, 1000, -1, 10**6, 10**9, 2**31, 2**40, 0.0, 0.5, 1e-9, -0.5, 1e9, 1e300),
    *("", "x", "auto", "none", "..", "/dev/zero", "case", "a" * 300, "1", None, True, False),
    *([], {}, [0], [1, 2], [[]], {"a": 1}, ["x", "x"], float("inf"), float("nan")),
)


def mutate_settings(rng: Random, content: bytes) -> bytes:
    """Change single values of a YAML file that stays a good one; half of the time its text."""
    if rng.random() < 0.3:
        return mutate_yaml(rng, content)
    try:
        holder: list[Any] = [yaml.safe_load(content)]
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            inner, at = rng.choice(list(_keys(holder)))
            match rng.randrange(6):
                case 0:
                    del inner[at]
                case 1 if isinstance(inner[at], int | float):
                    inner[at] = inner[at] * rng.choice((-1, 2, 10, 0.5, 1000))
                case 2 if isinstance(inner[at], str):
                    inner[at] = rng.choice((inner[at].upper(), f"{inner[at]}x", f"./{inner[at]}"))
                case _:
                    inner[at] = rng.choice(_SETTINGS)
        return yaml.safe_dump(holder[0] if holder else None, sort_keys=False).encode()
    except Exception:
        return mutate_yaml(rng, content)


def _keys(holder: Any) -> Iterator[tuple[Any, Any]]:
    keys = list(holder) if isinstance(holder, dict) else range(len(holder))
    for key in keys:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _keys(holder[key])


# --- XML -------------------------------------------------------------------------------------

_DTD = (
    '<!DOCTYPE a [<!ENTITY b "xxxxxxxxxx">'
    + "".join(f'<!ENTITY b{n} "{f"&b{n - 1 if n else str()};" * 10}">' for n in range(9))
    + "]>"
)


def mutate_xml(rng: Random, content: bytes) -> bytes:
    """Change attributes, texts and elements; add entities that grow without bound."""
    text = content.decode("utf-8", "surrogateescape")
    values = [match.span(1) for match in re.finditer(r'"([^"<>]*)"|>([^<>]+)<', text) if match[1]]
    if values and rng.random() < 0.6:
        start, end = rng.choice(values)
        cell = rng.choice(_CELLS).replace("\udcff", "").replace('"', "&quot;")
        text = text[:start] + cell + text[end:]
    elif rng.random() < 0.3:
        head, mark, rest = text.partition("<annotations")
        text = f"{head}{_DTD}{mark}{rest}".replace("<label>", "<label>&b8;", 1)
    elif rng.random() < 0.3:
        at = rng.choice([match.start() for match in re.finditer("<", text)] or [0])
        text = text[:at] + "<a>" * rng.choice((1, 50, 20_000)) + text[at:]
    else:
        return mutate_bytes(rng, content)
    return text.encode("utf-8", "surrogateescape")[:MOST_BYTES]


# --- NumPy -----------------------------------------------------------------------------------

_DTYPES = (
    *("<f4", "<f8", "<f2", ">f4", "|u1", "<i8", "<u8", "|b1", "<c16", "|O", "|S4", "<U2", "<U0"),
    *("<M8[s]", "<m8[ns]", "|V8", "<f16", "|S1000000000", "<U999999999", "f4,f4", "x", ""),
)
_SIZES = (0, 1, 2, 3, -1, 2**31, 2**40, 2**62, 2**63, 2**64, 10**30)


def mutate_npy(rng: Random, content: bytes) -> bytes:
    """Change type, shape, order and version in the header, and values."""
    end = content.find(b"\n") + 1
    if content[:6] != b"\x93NUMPY" or end < 10 or rng.random() < 0.15:
        return mutate_bytes(rng, content)
    try:
        facts = ast.literal_eval(content[10:end].decode("latin-1").strip())
    except Exception:
        return mutate_bytes(rng, content)
    body = bytearray(content[end:])
    shape: list[Any] = list(facts.get("shape", ()))
    version, extra = 1, b""
    for _ in range(rng.choice((1, 1, 2))):
        match rng.randrange(9):
            case 0 | 1:
                facts["descr"] = rng.choice(_DTYPES)
            case 2 | 3:
                size = rng.choice(_SIZES)
                shape = [size] if not shape else [*shape[:-1], size][rng.randrange(2) :]
            case 4:
                facts["fortran_order"] = rng.choice((True, 1, None))
            case 5:
                body[:4] = struct.pack("<f", rng.choice((np.nan, np.inf, -np.inf, 3e38)))
            case 6:
                del body[rng.randrange(len(body) + 1) :]
            case 7:
                shape = [shape, 1, None, *shape][rng.randrange(3) : 3] or shape
            case _:
                version = rng.choice((0, 2, 3, 9))
                extra = rng.choice((b"", b" " * 70_000, b"(" * 300, b"#\n"))
    facts["shape"] = tuple(shape)
    head = repr(facts).encode("latin-1", "replace") + extra + b"\n"
    size = struct.pack("<H", len(head) % 65536) if version < 2 else struct.pack("<I", len(head))
    return b"\x93NUMPY" + bytes([version, 0]) + size + head + bytes(body)


# --- archives --------------------------------------------------------------------------------


def mutate_zip(rng: Random, content: bytes) -> bytes:
    """Change members, their names, number and announced sizes."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except Exception:
        return mutate_bytes(rng, content)
    if rng.random() < 0.25:
        return _lying_zip(rng, content)
    packed = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA))
    at = rng.randrange(len(members)) if members else 0
    if members:
        name, data = members[at]
        match rng.randrange(8):
            case 0 | 1 | 2 | 3:
                changed = BY_ENDING.get(Path(name).suffix, mutate_bytes)(rng, data)
                members[at] = (name, changed)
            case 4:
                names = (
                    "",
                    "../x.npy",
                    "a/b.npy",
                    "x",
                    "\ud7ff.npy",
                    "/x.npy",
                    name.upper(),
                    "a" * 500,
                )
                members[at] = (rng.choice(names), data)
            case 5:
                members.append((name, data))
            case 6:
                del members[at]
            case _:
                members[at] = (name, data[:128] + bytes(rng.choice((10**6, 3 * 10**7))))
                packed = zipfile.ZIP_DEFLATED
    stream = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name is there twice
        with zipfile.ZipFile(stream, "w", packed) as archive:
            for name, data in members:
                archive.writestr(zipfile.ZipInfo(name), data, packed)
    return stream.getvalue()[:MOST_BYTES]


def _lying_zip(rng: Random, content: bytes) -> bytes:
    """Overwrite fields of the directory: method, flags, sizes, places, counts."""
    data = bytearray(content)
    heads = [match.start() for match in re.finditer(b"PK\x01\x02|PK\x03\x04|PK\x05\x06", content)]
    for _ in range(rng.randint(1, 3)):
        place = rng.choice(heads or [0]) + rng.choice((4, 6, 8, 10, 14, 16, 20, 24, 28, 32, 42))
        data[place : place + 4] = rng.choice((*_WORDS, rng.randbytes(2), rng.randbytes(4)))
    return bytes(data)


def mutate_tar(rng: Random, content: bytes) -> bytes:
    """Change sizes, kinds, names and headers of members, with right checksums."""
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            members = [
                (info, held.read() if (held := archive.extractfile(info)) else b"")
                for info in archive.getmembers()
            ]
    except Exception:
        return mutate_bytes(rng, content)
    if rng.random() < 0.2 or not members:
        return mutate_bytes(rng, content)
    info, data = rng.choice(members)
    match rng.randrange(6):
        case 0:
            info.size = rng.choice((0, 1, 2**33, 2**62, len(data) + 1))
        case 1:
            info.type = rng.choice(
                (b"0", b"1", b"2", b"3", b"4", b"5", b"6", b"x", b"g", b"L", b"S")
            )
            info.linkname = rng.choice(("", "/etc/passwd", "../../x", info.name))
        case 2:
            info.name = rng.choice(("", "../x", "/tmp/x", "a" * 300, "a/../../b", "\udcff", "a\nb"))
        case 3:
            info.pax_headers = rng.choice(
                (
                    {"size": "9" * 30},
                    {"size": "-1"},
                    {"path": "../x"},
                    {"mtime": "nan"},
                    {"GNU.sparse.size": "9999999999"},
                    {"a" * 5000: "b"},
                    {"size": "x"},
                )
            )
        case 4:
            info.mtime, info.mode = rng.choice((-1, 2**40, 1e18)), rng.choice((0, 0o7777))
        case _:
            members.append((info, data))
    stream = io.BytesIO()
    with contextlib.suppress(Exception), tarfile.open(fileobj=stream, mode="w:gz") as made:
        for each, held in members:
            made.fileobj.write(each.tobuf(tarfile.PAX_FORMAT))  # type: ignore[union-attr]
            padded = held + bytes(-len(held) % 512)
            made.fileobj.write(padded)  # type: ignore[union-attr]
    return stream.getvalue()[:MOST_BYTES] or mutate_bytes(rng, content)


# --- HDF5 ------------------------------------------------------------------------------------


def mutate_h5(rng: Random, content: bytes) -> bytes:
    """Write an odd dataset of the same name, or change bytes, above all of the headers."""
    if rng.random() < 0.5:
        data = bytearray(content)
        for _ in range(rng.randint(1, 4)):
            at = rng.randrange(min(len(data), 2500) or 1)
            data[at : at + 1] = rng.choice((b"\xff", b"\0", b"\x80", rng.randbytes(1)))
        return bytes(data) if rng.random() < 0.8 else mutate_bytes(rng, content)
    import h5py

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "x.h5")
        path.write_bytes(content)
        with h5py.File(path) as file:
            names = list(file) or ["a"]
        try:
            with h5py.File(path, "r+") as file:
                name = rng.choice(names)
                del file[name]
                _odd_dataset(rng, file, name, h5py)
        except Exception:
            return mutate_bytes(rng, content)
        return path.read_bytes()[:MOST_BYTES]


def _odd_dataset(rng: Random, file: Any, name: str, h5py: Any) -> None:
    table = np.array([[0.1, 0.2], [0.3, 0.4]], np.float32)
    huge = rng.choice(((2**40, 2), (10**6, 10**6), (2**31,), (2**62,), (1, 2**33)))
    match rng.randrange(16):
        case 0:
            file.create_dataset(name, huge, "f4")
        case 1:
            file.create_dataset(name, huge, "f4", chunks=tuple(min(n, 64) for n in huge))
        case 2:
            chunks = (2**14, 2**15)
            file.create_dataset(
                name,
                (2, 2),
                "f4",
                chunks=chunks,
                maxshape=(None, None),
                compression="gzip",
                data=table,
            )
        case 3:
            file.create_dataset(name, (2, 2), "f4", external=[("/etc/passwd", 0, 16)])
        case 4:
            file[name] = h5py.SoftLink(rng.choice(("/", f"/{name}", "/none")))
        case 5:
            file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "other.h5", "")), "/a")
        case 6:
            layout = h5py.VirtualLayout((2, 2), "f4")
            layout[:] = h5py.VirtualSource("other.h5", "a", (2, 2))
            file.create_virtual_dataset(name, layout)
        case 7:
            kinds = ("b1", "c8", "f2", "S5", [("x", "f4")], "i8", "u1", ">f8", "(2,)f4")
            file.create_dataset(name, (2, 2), np.dtype(rng.choice(kinds)))
        case 8:
            file.create_dataset(name, (2,), h5py.string_dtype())
        case 9:
            file.create_dataset(name, dtype="f4", shape=None, data=h5py.Empty("f4"))
        case 10:
            file.create_dataset(name, (2,), h5py.vlen_dtype(np.float32))
        case 11:
            inner = file
            for _ in range(rng.choice((1, 2, 60))):
                inner = inner.create_group(name)
            inner[name] = table
        case 12:
            file.create_dataset(
                name, (2, 2), "f4", data=np.full((2, 2), rng.choice((np.nan, np.inf)))
            )
        case 13:
            file.create_dataset(name, (), "f4", data=1.0)
        case 14:
            file.create_dataset(name, (5000, 5000), "f4", chunks=(1000, 1000), fillvalue=1.0)
        case _:
            file.create_dataset(name, (2, 2), h5py.ref_dtype)


# --- TFRecord --------------------------------------------------------------------------------


def mutate_tfrecord(rng: Random, content: bytes) -> bytes:
    """Change records and lengths, with right checksums, so that the messages inside are read."""
    records: list[bytes] = []
    at = 0
    while at + 12 <= len(content):
        (length,) = struct.unpack_from("<Q", content, at)
        if at + 16 + length > len(content):
            break
        records.append(content[at + 12 : at + 12 + length])
        at += 16 + length
    if not records or rng.random() < 0.15:
        return mutate_bytes(rng, content)
    place = rng.randrange(len(records))
    what, lie = rng.randrange(10), None
    if what < 6:
        data = bytearray(records[place])
        for _ in range(rng.randint(1, 4)):
            where = rng.randrange(len(data) or 1)
            data[where : where + 1] = rng.choice(
                (b"\xff", b"\0", b"\x80", b"\x0a", b"\x12", b"\x7f", rng.randbytes(1), b"")
            )
        records[place] = bytes(data)
    elif what == 6:
        records[place] = mutate_bytes(rng, records[place])
    elif what == 7:
        records = [*records, records[place]] if rng.random() < 0.7 else records * 200
    elif what == 8:
        records[place] = b""
    else:
        lie = rng.choice((0, 2**31, 2**62, 2**63, 2**64 - 16, len(content)))
    made = bytearray()
    for number, record in enumerate(records):
        length = struct.pack("<Q", lie if lie is not None and number == place else len(record))
        made += length + struct.pack("<I", checksum(length))
        made += record + struct.pack("<I", checksum(record))
    return bytes(made[:MOST_BYTES])


# --- pictures and films ----------------------------------------------------------------------


def mutate_png(rng: Random, content: bytes) -> bytes:
    """Change size, depth and kind in the header, with a right checksum."""
    if content[12:16] != b"IHDR" or rng.random() < 0.4:
        return mutate_bytes(rng, content)
    head = bytearray(content[12:29])
    at = rng.choice((4, 8, 12, 13, 14, 15, 16))
    if at < 12:
        head[at : at + 4] = struct.pack(">I", rng.choice((0, 1, 33, 20_000, 60_000, 2**31 - 1)))
    else:
        head[at] = rng.choice((0, 1, 2, 3, 4, 6, 16, 255))
    return content[:12] + bytes(head) + struct.pack(">I", zlib.crc32(head)) + content[33:]


def mutate_jpeg(rng: Random, content: bytes) -> bytes:
    """Change height and width in the frame header."""
    at = max(content.find(b"\xff\xc0"), content.find(b"\xff\xc2"))
    if at < 0 or rng.random() < 0.6:
        return mutate_bytes(rng, content)
    place = at + rng.choice((5, 7))
    return (
        content[:place]
        + struct.pack(">H", rng.choice((0, 1, 65_535, 30_000)))
        + content[place + 2 :]
    )


_BOXES = (
    b"moov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"mvhd",
    b"tkhd",
    b"mdhd",
    b"stsd",
    b"stts",
    b"ctts",
    b"stss",
    b"stsc",
    b"stsz",
    b"stco",
    b"elst",
    b"avcC",
    b"hdlr",
    b"mdat",
    b"ftyp",
)


def mutate_mp4(rng: Random, content: bytes) -> bytes:
    """Change numbers inside the boxes of an mp4, their names and lengths."""
    boxes = [content.find(name) for name in _BOXES if name in content]
    if not boxes or rng.random() < 0.25:
        return mutate_bytes(rng, content)
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.choice(boxes)
        match rng.randrange(5):
            case 0:
                place = at - 4
            case 1:
                data[at : at + 4] = rng.choice((b"free", b"skip", b"udta", b"moov"))
                continue
            case _:
                place = at + 4 + 4 * rng.randrange(20)
        values = (0, 1, 2, 255, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
        data[place : place + 4] = struct.pack(">I", rng.choice(values))
    return bytes(data)


BY_ENDING: dict[str, Mutator] = {
    ".json": mutate_json,
    ".jsonl": mutate_json,
    ".csv": mutate_table,
    ".tsv": mutate_table,
    ".txt": mutate_table,
    ".list": mutate_table,
    ".yaml": mutate_yaml,
    ".xml": mutate_xml,
    ".npy": mutate_npy,
    ".npz": mutate_zip,
    ".pt": mutate_zip,
    ".pth": mutate_zip,
    ".zip": mutate_zip,
    ".gz": mutate_tar,
    ".h5": mutate_h5,
    ".tfrecord": mutate_tfrecord,
    ".png": mutate_png,
    ".jpg": mutate_jpeg,
    ".mp4": mutate_mp4,
}
"""What understands files of an ending; others are changed byte by byte."""


def mutate(rng: Random, name: str, content: bytes, mutator: Mutator | None = None) -> bytes:
    """Damage a file: mostly what it means, sometimes its bytes, sometimes both."""
    meant = mutator or BY_ENDING.get(Path(name).suffix.lower(), mutate_bytes)
    chance = rng.random()
    if chance < 0.15:
        return mutate_bytes(rng, content)
    changed = meant(rng, content)
    return mutate_bytes(rng, changed) if chance > 0.95 else changed

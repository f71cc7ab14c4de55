"""A small LMDB file, as LMDB 0.9 lays it out: one page of values."""

import struct
from collections.abc import Mapping

_PAGE = 4096


def lmdb_of(values: Mapping[str, bytes]) -> bytes:
    """The content of `data.mdb`; all values fit on one page."""
    places, nodes, end = list[int](), b"", _PAGE
    for key, value in sorted(values.items()):
        name = key.encode()
        node = struct.pack("<HHHH", len(value) & 0xFFFF, len(value) >> 16, 0, len(name))
        node += name + value + bytes((len(name) + len(value)) % 2)
        end -= len(node)
        places.append(end)
        nodes = node + nodes
    pages = [_meta(number, len(values)) for number in (0, 1)]
    head = struct.pack("<QHHHH", 2, 0, 2, 16 + 2 * len(places), end)
    head += struct.pack(f"<{len(places)}H", *places)
    return b"".join((*pages, head, bytes(end - len(head)), nodes))


def _meta(number: int, count: int) -> bytes:
    free = struct.pack("<IHHQQQQQ", _PAGE, 8, 0, 0, 0, 0, 0, 2**64 - 1)
    main = struct.pack("<IHHQQQQQ", 0, 0, 1, 0, 1, 0, count, 2)
    head = struct.pack("<QHHHHIIQQ", number, 0, 8, 0, 0, 0xBEEFC0DE, 1, 0, 1 << 20)
    return (head + free + main + struct.pack("<QQ", 2, number)).ljust(_PAGE, b"\0")

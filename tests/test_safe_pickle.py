"""Pickles are read as data, or not at all."""

import codecs
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from videozoo.errors import DataError
from videozoo.safe_pickle import load_pickle


class Attack:
    """Runs a command when it is unpickled by the ordinary means."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        function, *arguments = self.call
        return function, tuple(arguments)


def saved(folder: Path, content: Any, protocol: int = 2) -> Path:
    path = folder / "data.pkl"
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_comes_back_whole(tmp_path: Path, protocol: int):
    content = OrderedDict(
        a=np.arange(6, dtype=np.float32).reshape(2, 3),
        b=[1, 2.5, None, True, "text", b"\x00\xff bytes"],
        c={"deep": (np.float64(3), np.int32(4))},
    )

    back = load_pickle(saved(tmp_path, content, protocol))

    np.testing.assert_array_equal(back["a"], content["a"])
    assert back["b"] == content["b"]
    assert back["c"] == content["c"]


@pytest.mark.parametrize(
    "call",
    [
        (os.makedirs, "owned"),
        (eval, "open('owned', 'w')"),
        (exec, "open('owned', 'w')"),
        (np.load, "owned"),
        (codecs.encode, "a" * 100, "zip"),
        (getattr, "text", "upper"),
    ],
    ids=["os.makedirs", "eval", "exec", "numpy.load", "codec", "getattr"],
)
def test_a_pickle_that_would_run_code_is_refused(
    tmp_path: Path, call: tuple[Any, ...], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = saved(tmp_path, ["harmless", Attack(*call)])

    with pytest.raises(DataError) as error:
        load_pickle(path)

    assert str(path) in str(error.value)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1, 2, 3])[:-3]])
def test_damaged_files_are_named(tmp_path: Path, content: bytes):
    path = tmp_path / "damaged.pkl"
    path.write_bytes(content)

    with pytest.raises(DataError, match=r"damaged\.pkl: not a readable pickle"):
        load_pickle(path)


def test_missing_files_are_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"gone\.pkl: cannot be read"):
        load_pickle(tmp_path / "gone.pkl")

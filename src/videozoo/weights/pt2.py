"""Read `.pt2` files of torch.export without running foreign code in them.

`torch.export.load` of PyTorch 2.13 trusts its file. It unpickles marked weights and constants and,
after a safe try, example inputs; it loads compiled libraries from a folder of the archive; it
evaluates the text of sizes (`sympify`) and of guards; and names in a graph become the text of a
Python function. So a file may hold only what our export writes: no pickles, no libraries, no
guards, only listed operations, and plain names as texts.
"""

from __future__ import annotations

import io
import logging
import re
import warnings
import zipfile
from collections.abc import Generator
from contextlib import contextmanager
from keyword import iskeyword
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from videozoo.errors import WeightsError
from videozoo.safe_json import parse_json

if TYPE_CHECKING:
    from torch.export import ExportedProgram

MODEL = "models/model.json"

_MEMBER = re.compile(
    r"models/model\.json|data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)|data/sample_inputs/model\.pt"
    r"|extra/videozoo\.json|archive_format|archive_version|byteorder"
    r"|\.data/(version|serialization_id)"
)
_NAMES_OF_VALUES = ("name", "as_name")
"""Keys of names that become those of variables in a Python function."""
_NAME = re.compile(r"(?!__)([A-Za-z0-9_+\-]|\.(?!__)){0,256}")  # no Python insides, `__class__`
_SYMBOL = re.compile(r"Symbol\('s\d{1,6}', positive=True, integer=True\)|Integer\(-?\d{1,12}\)")
_SIZE = re.compile(r"(x|Mul\(|Add\(|, |\)){1,64}")
_LEAF = {"type": None, "context": None, "children_spec": []}
_SPECS = (  # one tensor in, by position; one out
    [
        1,
        {
            "type": "builtins.tuple",
            "context": "null",
            "children_spec": [
                {"type": "builtins.tuple", "context": "null", "children_spec": [_LEAF]},
                {"type": "builtins.dict", "context": "[]", "children_spec": []},
            ],
        },
    ],
    [1, _LEAF],
)
OPERATIONS = frozenset(
    f"torch.ops.aten.{name}"
    for name in (
        "_assert_tensor_metadata.default",
        "add.Tensor",
        "addcmul.default",
        "amax.default",
        "avg_pool3d.default",
        "batch_norm.default",
        "cat.default",
        "clone.default",
        "conv1d.default",
        "conv2d.default",
        "conv3d.default",
        "detach.default",
        "div.Tensor",
        "flatten.using_ints",
        "lift_fresh_copy.default",
        "linear.default",
        "log_softmax.int",
        "logsumexp.default",
        "matmul.default",
        "max_pool2d.default",
        "max_pool3d.default",
        "mean.dim",
        "movedim.int",
        "mul.Tensor",
        "permute.default",
        "relu.default",
        "reshape.default",
        "scaled_dot_product_attention.default",
        "sigmoid.default",
        "slice.Tensor",
        "softmax.int",
        "squeeze.dim",
        "sub.Tensor",
        "sym_size.int",
        "to.dtype",
        "transpose.int",
        "unflatten.int",
        "unsqueeze.default",
        "view.default",
        "zeros_like.default",
    )
)
"""Operations of our graphs. None of them reads a file or calls Python."""


def is_known(operation: str) -> bool:
    """Whether graphs may hold an operation, or its in-place form (`add_` for `add`).

    >>> is_known("torch.ops.aten.add_.Tensor"), is_known("torch.ops.aten.from_file.default")
    (True, False)
    """
    return operation in OPERATIONS or operation.replace("_.", ".") in OPERATIONS


def load_program(path: Path) -> ExportedProgram:
    """Load a graph that our export wrote.

    Raises:
        WeightsError: The file is missing, damaged, or holds something else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from None
    check_archive(content, path)
    from torch import export

    try:
        with _silent():
            return export.load(io.BytesIO(content))
    except Exception as error:  # a damaged graph can raise almost anything
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{path}: PyTorch {torch.__version__} cannot load it "
            f"({type(error).__name__}: {reason}); export it again with this version"
        ) from None


def check_archive(content: bytes, source: object) -> None:
    """Check that an archive holds a graph of listed operations, and nothing that could run.

    Args:
        content: The file.
        source: Its name, for messages.

    Raises:
        WeightsError: It holds something else, or is damaged.
    """
    try:
        texts = _texts(content)
        if texts.pop("data/sample_inputs/model.pt", b""):
            raise _RefusedError("example inputs, which are pickled")
        texts.pop("extra/videozoo.json", None)
        if MODEL not in texts:
            raise WeightsError(f"{source}: holds no graph; was it written by `videozoo export`?")
        for member, text in texts.items():
            _check_json(parse_json(text), member)
    except _RefusedError as error:
        raise WeightsError(
            f"{source}: refused: it holds {error}, which an export by videozoo never does and "
            "which could run code when loaded"
        ) from None
    except WeightsError:
        raise
    except Exception as error:  # a damaged archive can raise almost anything
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise WeightsError(
            f"{source}: not a whole .pt2 file ({reason}); was it cut short?"
        ) from None


def _texts(content: bytes) -> dict[str, bytes]:
    """Read all members except tensors, twice: PyTorch's zip reader must see the same as
    Python's."""
    from torch.export.pt2_archive import PT2ArchiveReader

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = archive.namelist()
        root = names[0].partition("/")[0] if names else ""
        members = [name.removeprefix(f"{root}/") for name in names]
        for name, member in zip(names, members, strict=True):
            if not name.startswith(f"{root}/") or not _MEMBER.fullmatch(member):
                raise _RefusedError(f"the member {name!r}")
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise _RefusedError(f"the packed member {info.filename!r}")
        if len(set(names)) != len(names):
            raise _RefusedError("two members of one name")
        if sum(info.file_size for info in archive.infolist()) > len(content):
            raise _RefusedError("members that are larger than the file")
        wanted = [m for m in members if m.endswith(".json") or m.startswith("data/sample_inputs")]
        texts = {member: archive.read(f"{root}/{member}") for member in wanted}
    with PT2ArchiveReader(io.BytesIO(content)) as reader:
        same = sorted(reader.get_file_names()) == sorted(set(members))
        if not same or any(reader.read_bytes(m) != text for m, text in texts.items()):
            raise _RefusedError("members that two readers see differently")
    return texts


class _RefusedError(Exception):
    pass


def _check_json(content: Any, member: str) -> None:
    if not isinstance(content, dict):
        raise _RefusedError(f"{member} without keys")
    if content.get("guards_code"):
        raise _RefusedError("guards")
    _check_values(content, member, "")


def _check_values(value: Any, member: str, key: str) -> None:
    if isinstance(value, dict):
        for name, below in cast(dict[str, Any], value).items():
            _check_text(name, member, "name" if key == "tensor_values" else "")
            if name == "use_pickle" and below:
                raise _RefusedError("pickled tensors")
            _check_values(below, member, name)
    elif isinstance(value, list):
        for below in cast(list[Any], value):
            _check_values(below, member, key)
    elif isinstance(value, str):
        _check_text(value, member, key)


def _check_text(text: str, member: str, key: str) -> None:
    """Allow only a name, a listed operation, or a product of sizes."""
    if key in _NAMES_OF_VALUES:
        plain = _NAME.fullmatch(text) is not None and text.isidentifier()
        good = text == "" or (plain and not iskeyword(text))
    elif key == "target":
        good = is_known(text)
    elif key == "expr_str":
        good = _SIZE.fullmatch(_SYMBOL.sub("x", text)) is not None
    elif key in ("in_spec", "out_spec"):
        good = text == "" or parse_json(text) in _SPECS
    else:
        good = _NAME.fullmatch(text) is not None
    if not good:
        raise _RefusedError(f"{text[:80]!r} in {member}")


@contextmanager
def _silent() -> Generator[None]:
    """Within the block, PyTorch does not log the errors that are raised.

    Nor does PyTorch 2.9 warn that weights lie in memory that is not to be written to: nobody
    writes to the weights of a graph.
    """
    logger = logging.getLogger("torch.export")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given buffer is not writable")
            yield
    finally:
        logger.setLevel(before)

"""Models in the form of transformers, a folder or `hf://owner/name`: JSON files and safetensors.

    folder = ModelFolder("hf://facebook/dinov2-small")
    folder.json("config.json")["model_type"]     # "dinov2"
    folder.tensors()["layernorm.weight"]         # (384,), without reading values

Nothing in such a folder is run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast

from safetensors import safe_open
from torch import Tensor

from videozoo.errors import WeightsError, brief
from videozoo.safe_json import parse_json
from videozoo.safe_tensors import READING_ERRORS
from videozoo.weights import hub

CONFIG = "config.json"
_WHOLE, _INDEX = "model.safetensors", "model.safetensors.index.json"
_SHARD = re.compile(r"[\w.-]+\.safetensors")
_MOST_JSON_BYTES = 1 << 26
_PICKLES = (
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "tf_model.h5",
    "flax_model.msgpack",
)


def is_model_folder(text: str) -> bool:
    """Whether a text names a folder with a `config.json`, that file, or a model on the hub."""
    return hub.is_model(text) or (_folder(text) / CONFIG).is_file()


def _folder(text: str) -> Path:
    path = Path(text)
    return path.parent if path.name == CONFIG else path


class ModelFolder:
    """The files of one model.

    Attributes:
        text: What the user typed; errors begin with it.
        reference: What to type to get the same model again: the path, or `hf://NAME@COMMIT`.
        files: Files read so far, in order.
    """

    def __init__(self, text: str) -> None:
        """Open a folder, by its path or that of its `config.json`, or find a model on the hub.

        Raises:
            WeightsError: There is no such folder or model.
        """
        self.text = text
        self.files: list[Path] = []
        self._hub: hub.HubModel | None = None
        self._folder = _folder(text)
        self._shards: dict[str, Path] = {}
        if (self._folder / CONFIG).is_file():
            self.reference = str(self._folder.resolve())
        elif text.startswith(hub.PREFIX):
            self._hub = hub.HubModel(text, large=(_WHOLE, _INDEX))
            self.reference = f"{hub.PREFIX}{self._hub.repository}@{self._hub.commit}"
        else:
            raise WeightsError(
                f"{text}: "
                + (f"holds no {CONFIG}" if self._folder.is_dir() else "there is no such folder")
                + "; expected the folder of a Hugging Face model, or hf://OWNER/NAME"
            )

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of the user, and not one of the hub's cache."""
        return self._hub is None

    def find(self, file: str) -> Path | None:
        """Return a file of the model; None if it has no such file.

        Raises:
            WeightsError: It is on the hub, and the download fails.
        """
        if self._hub is not None:
            found = self._hub.find(file)
        else:
            found = self._folder / file
            found = found if found.is_file() else None
        if found is not None and found not in self.files:
            self.files.append(found)
        return found

    def json(self, file: str) -> dict[str, Any] | None:
        """Read a JSON file of keys and values; None if there is no such file.

        Raises:
            WeightsError: It cannot be read, or holds something else.
        """
        path = self.find(file)
        if path is None:
            return None
        try:
            size = path.stat().st_size
            if size > _MOST_JSON_BYTES:
                raise WeightsError(f"{self.text}: {file} has {size:,} bytes; it is no description")
            content = parse_json(path.read_bytes())
        except OSError as error:
            raise WeightsError(f"{self.text}: {file}: {error.strerror or error}") from None
        except ValueError as error:
            raise WeightsError(f"{self.text}: {file} is not JSON: {error}") from None
        if not isinstance(content, dict):
            raise WeightsError(
                f"{self.text}: {file} holds {brief(content)}, expected keys and values"
            )
        return cast("dict[str, Any]", content)

    def tensors(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of all tensors. No values are read.

        Raises:
            WeightsError: There are no safetensors, they are damaged, or shards are missing.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        names = [_WHOLE]
        if self.find(_WHOLE) is None:
            index = self.json(_INDEX)
            if index is None:
                raise self._without_weights()
            names = self._shard_names(index)
        for name in names:
            path = self.find(name)
            if path is None:
                raise WeightsError(f"{self.text}: {name} is missing, which {_INDEX} names")
            try:
                with safe_open(path, framework="pt") as file:
                    for key in file.keys():  # noqa: SIM118
                        shapes[key] = tuple(file.get_slice(key).get_shape())
                        self._shards[key] = path
            except READING_ERRORS as error:
                raise self._damaged(name, error) from None
        return shapes

    def read(self, names: Collection[str]) -> dict[str, Tensor]:
        """Read tensors that `tensors` has listed.

        Raises:
            WeightsError: A file is damaged.
        """
        tensors: dict[str, Tensor] = {}
        with ExitStack() as opened:
            files: dict[Path, Any] = {}
            for name in names:
                path = self._shards[name]
                try:
                    if path not in files:
                        files[path] = opened.enter_context(safe_open(path, framework="pt"))
                    tensors[name] = files[path].get_tensor(name)
                except READING_ERRORS as error:
                    raise self._damaged(path.name, error) from None
        return tensors

    def _shard_names(self, index: Mapping[str, Any]) -> list[str]:
        table = index.get("weight_map")
        if not isinstance(table, dict) or not table:
            raise WeightsError(f"{self.text}: {_INDEX} has no weight_map of tensors and files")
        names = list(cast("dict[str, Any]", table).values())
        for name in names:
            if not isinstance(name, str) or not _SHARD.fullmatch(name):
                raise WeightsError(
                    f"{self.text}: {_INDEX} names the file {brief(name)}; expected names of "
                    "safetensors files in the same folder"
                )
        return list(dict.fromkeys(names))

    def _without_weights(self) -> WeightsError:
        there = [name for name in _PICKLES if self.is_local and self.find(name) is not None]
        if there or not self.is_local:
            return WeightsError(
                f"{self.text}: holds no {_WHOLE}"
                + (f", but {there[0]}" if there else "")
                + ". Other formats (pytorch_model.bin) can run code and are not read. Take a "
                "revision with safetensors (on the hub often @refs/pr/1), or, where you trust the "
                "file, convert it in Python: "
                "transformers.AutoModel.from_pretrained(MODEL).save_pretrained(NEW_FOLDER), and "
                "copy the JSON files of the preprocessor beside it"
            )
        return WeightsError(f"{self.text}: holds no {_WHOLE} and no {_INDEX}")

    def _damaged(self, name: str, error: Exception) -> WeightsError:
        return WeightsError(
            f"{self.text}: {name} is not a whole safetensors file ({error}); was it cut short?"
        )


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Hash of tensors by their values and shapes; the same whatever their names and order.

    Versions of transformers name the same tensors in different ways.
    """
    digests: list[bytes] = []
    for tensor in tensors.values():
        flat = tensor.detach().cpu().float().contiguous().reshape(-1)
        digest = hashlib.sha256(f"{tuple(tensor.shape)}\n".encode())
        digest.update(flat.numpy().data)
        digests.append(digest.digest())
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()

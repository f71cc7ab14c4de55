import os
import pickle
from pathlib import Path
from typing import Any, Self

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from videozoo.errors import WeightsError
from videozoo.weights import files
from videozoo.weights.files import read_metadata, read_weights, save_weights
from videozoo.weights.kinds import find_weights, sniff


class _Hostile:
    def __reduce__(self) -> tuple[Any, ...]:
        return vars(os)["system"], ("touch hacked",)


def test_weights_and_description_come_back_as_they_were(tmp_path: Path):
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    module.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    about = {"model": "tsm", "classes": ["jump", "Zähne putzen"], "settings": {"depth": 50}}

    save_weights(tmp_path / "a.safetensors", module.state_dict(), about)
    tensors, metadata = read_weights(tmp_path / "a.safetensors")

    assert metadata == read_metadata(tmp_path / "a.safetensors") == about
    assert tensors.keys() == module.state_dict().keys()
    for name, value in module.state_dict().items():
        torch.testing.assert_close(tensors[name], value, rtol=0, atol=0)


def test_description_stands_in_the_header_under_our_name(tmp_path: Path):
    save_weights(tmp_path / "a.safetensors", {"w": torch.ones(2)}, {"model": "tsn"})

    with safe_open(tmp_path / "a.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt", "videozoo": '{"model": "tsn"}'}


def test_tied_tensors_can_be_saved(tmp_path: Path):
    shared = torch.arange(6.0)

    save_weights(tmp_path / "a.safetensors", {"one": shared, "two": shared[:3]}, {})

    tensors, _ = read_weights(tmp_path / "a.safetensors")
    assert tensors["two"].tolist() == [0, 1, 2]


def test_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "a.safetensors"
    save_weights(path, {"w": torch.ones(2)}, {"run": 1})
    before = path.read_bytes()

    def half(tensors: Any, to: Path, metadata: Any) -> None:
        Path(to).write_bytes(before[:20])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("videozoo.weights.files.save_file", half)
    with pytest.raises(WeightsError, match=r"a\.safetensors: cannot be written: No space left"):
        save_weights(path, {"w": torch.zeros(2)}, {"run": 2})

    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.safetensors"]


def test_safetensors_of_others_have_no_description(tmp_path: Path):
    save_file({"w": torch.ones(2)}, tmp_path / "a.safetensors")

    tensors, metadata = read_weights(tmp_path / "a.safetensors")

    assert list(tensors) == ["w"]
    assert metadata == read_metadata(tmp_path / "a.safetensors") == {}


@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module."])
@pytest.mark.parametrize("new_format", [True, False])
def test_torch_state_dicts_are_unwrapped(
    tmp_path: Path, wrapper: str | None, prefix: str, new_format: bool
):
    state: Any = {f"{prefix}fc.weight": torch.ones(2, 3)}
    content = {wrapper: state, "epoch": 3} if wrapper else state
    torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new_format)

    tensors, metadata = read_weights(tmp_path / "a.pth")

    assert list(tensors) == ["fc.weight"]
    assert metadata == {}


@pytest.mark.parametrize("new_format", [True, False])
def test_hostile_torch_files_are_refused_and_run_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new_format: bool
):
    monkeypatch.chdir(tmp_path)
    torch.save({"w": _Hostile()}, "a.pth", _use_new_zipfile_serialization=new_format)

    with pytest.raises(WeightsError, match=r"a\.pth: refused: this pickle asks to run \w+\.system"):
        read_weights(Path("a.pth"))

    assert not Path("hacked").exists()


def test_damaged_torch_files_give_no_advice_to_run_them(tmp_path: Path):
    torch.save({"w": torch.ones(2)}, tmp_path / "a.pth")
    (tmp_path / "a.pth").write_bytes((tmp_path / "a.pth").read_bytes()[:300])

    with pytest.raises(WeightsError, match="refused or damaged") as caught:
        read_weights(tmp_path / "a.pth")

    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("content", [[torch.ones(1)], {"epoch": 3}])
def test_torch_files_without_a_state_dict_say_what_they_hold(tmp_path: Path, content: Any):
    torch.save(content, tmp_path / "a.pth")

    with pytest.raises(WeightsError, match=r"expected a state dict"):
        read_weights(tmp_path / "a.pth")


def test_cut_safetensors_say_so(tmp_path: Path):
    path = tmp_path / "a.safetensors"
    save_weights(path, {"w": torch.ones(100)}, {})
    path.write_bytes(path.read_bytes()[:-10])

    with pytest.raises(WeightsError, match=r"a\.safetensors: not a whole safetensors file"):
        read_weights(path)


def test_kind_is_told_by_content_not_by_name(tmp_path: Path):
    torch.save({"w": torch.ones(1)}, tmp_path / "a.safetensors")
    save_file({"w": torch.ones(1)}, tmp_path / "b.pth")
    (tmp_path / "c.pth").write_bytes(pickle.dumps({}, protocol=2))

    assert sniff(tmp_path / "a.safetensors") == "torch"
    assert sniff(tmp_path / "b.pth") == "safetensors"
    assert sniff(tmp_path / "c.pth") == "paddle-pickle"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("a.pth", b"", "is empty"),
        ("a.pth", b"<!DOCTYPE html><html>", "not a weights file"),
        ("a.tar.gz", b"\x1f\x8b\x08\x00", "an archive"),
        ("a.pdopt", b"\x80\x02}q\x00.", r"they are in a\.pdparams"),
    ],
)
def test_other_files_are_named_for_what_they_are(
    tmp_path: Path, name: str, content: bytes, says: str
):
    (tmp_path / name).write_bytes(content)

    with pytest.raises(WeightsError, match=says):
        read_weights(tmp_path / name)


def test_paddle_parameters_are_not_taken_for_ours(tmp_path: Path):
    (tmp_path / "a.pdparams").write_bytes(pickle.dumps({}, protocol=2))

    with pytest.raises(WeightsError, match="PaddlePaddle parameters, which carry other names"):
        read_weights(tmp_path / "a.pdparams")


def test_suffix_may_be_left_out(tmp_path: Path):
    (tmp_path / "tsm_epoch1.pdparams").touch()
    (tmp_path / "best.safetensors").touch()

    assert find_weights(tmp_path / "tsm_epoch1") == tmp_path / "tsm_epoch1.pdparams"
    assert find_weights(tmp_path / "best") == tmp_path / "best.safetensors"


def test_missing_file_names_what_is_there(tmp_path: Path):
    (tmp_path / "tsm.pdparams").touch()

    with pytest.raises(WeightsError, match=r"tsn: no such weights file; .* holds tsm\.pdparams"):
        find_weights(tmp_path / "tsn")
    with pytest.raises(WeightsError, match="there is no folder"):
        find_weights(tmp_path / "nowhere" / "tsn")


@pytest.mark.parametrize(
    ("wrapped", "plain"),
    [
        (["module.fc.weight"], "fc.weight"),  # DataParallel
        (["_orig_mod.fc.weight"], "fc.weight"),  # torch.compile
        (["module._orig_mod.fc.weight"], "fc.weight"),
        (["_orig_mod.module.fc.weight"], "fc.weight"),
        (["backbone._orig_mod.fc.weight"], "backbone.fc.weight"),  # a part compiled
        (["n_averaged", "module.fc.weight"], "fc.weight"),  # AveragedModel
        (["_fsdp_wrapped_module.a._fsdp_wrapped_module.weight"], "a.weight"),
        (["a._checkpoint_wrapped_module.weight"], "a.weight"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_of_wrapped_modules_have_the_names_of_the_module(
    tmp_path: Path, wrapped: list[str], plain: str, suffix: str
):
    state = {name: torch.ones(2) for name in wrapped}
    path = tmp_path / f"a{suffix}"
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)

    tensors, _ = read_weights(path)

    assert list(tensors) == [plain]


def test_a_module_of_ours_that_is_called_module_keeps_its_name(tmp_path: Path):
    save_weights(tmp_path / "a.safetensors", {"module.w": torch.ones(2)}, {"model": "mine"})

    tensors, _ = read_weights(tmp_path / "a.safetensors")

    assert list(tensors) == ["module.w"]


@pytest.mark.parametrize(
    "error", [KeyError("w"), ValueError("shape"), RuntimeError("view"), TypeError("F4")]
)
def test_whatever_the_safetensors_package_lets_through_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    class Opened:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None: ...

        def metadata(self) -> dict[str, str]:
            raise error

    path = tmp_path / "a.safetensors"
    save_file({"w": torch.zeros(2)}, path)

    def opened(*_: object, **__: object) -> Opened:
        return Opened()

    monkeypatch.setattr(files, "safe_open", opened)
    for read in (read_weights, read_metadata):
        with pytest.raises(WeightsError, match=r"a\.safetensors: not a whole safetensors file"):
            read(path)

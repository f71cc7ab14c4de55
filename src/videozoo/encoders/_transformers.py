"""Networks of transformers, built from files of others: sizes are checked, no code is run.

The package is imported late, because that takes seconds.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn

from videozoo.engine.devices import keep_random_state, memory_bytes
from videozoo.errors import ConfigError, WeightsError, brief, few
from videozoo.network import libraries_held
from videozoo.weights.model_folder import ModelFolder

_MOST_NUMBER = 1 << 24
_MOST_DEPTH = 512
_MOST_TOKENS = 1 << 17
_MOST_TABLE = 1 << 25  # tokens times width: some models compute such a table number by number
_FREE_BYTES = 256 * 2**20

_TRAINING_ONLY = re.compile(
    r"dropout|drop_path|initializer|_prob$|^decoder_|^pred_|norm_pix|^image_size$"
)
"""Settings that the vectors of a trained network do not depend on. The size of the images is in the
shapes of the tensors, or in the preparation."""
_DEPTH = re.compile(r"layers$|^depths?$|stages$")
_REFUSED = {
    "quantization_config": "its weights are quantised; take the model that it was made from",
    "auto_map": "it needs code from its repository, which is never run",
}


def need_transformers(wanted_by: str) -> None:
    """Check that the package is there, before anything is fetched for it.

    Args:
        wanted_by: What the user asked for.

    Raises:
        ConfigError: It is not installed.
    """
    if importlib.util.find_spec("transformers") is None:
        raise ConfigError(
            f"{wanted_by} needs transformers, which is not installed: "
            "pip install 'videozoo[encoders]'"
        )


def import_transformers(wanted_by: str) -> Any:
    """Import the package.

    Args:
        wanted_by: What the user asked for.

    Raises:
        ConfigError: It is not installed, or its installation is broken.
    """
    need_transformers(wanted_by)
    try:
        with libraries_held():
            return importlib.import_module("transformers")
    except ImportError as error:
        raise ConfigError(
            f"{wanted_by} needs transformers, which is installed but cannot be imported "
            f"({brief(str(error))}); install it anew: pip install --force-reinstall transformers, "
            "and see `videozoo doctor`"
        ) from None


def model_type(folder: ModelFolder, config: Mapping[str, Any], known: Iterable[str]) -> str:
    """The kind of a network by its configuration.

    Raises:
        WeightsError: It is none of `known`, is quantised, or needs foreign code.
    """
    for key, reason in _REFUSED.items():
        if config.get(key):
            raise WeightsError(f"{folder.text}: config.json has {key}: {reason}")
    if folder.is_local and folder.find("adapter_config.json") is not None:
        raise WeightsError(
            f"{folder.text}: holds an adapter (adapter_config.json); merge it into its model first"
        )
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in known:
        raise WeightsError(
            f"{folder.text}: config.json describes a model of type {brief(kind)}; "
            f"expected one of {', '.join(sorted(known))}"
        )
    return kind


def make_config(
    transformers: Any,
    class_name: str,
    given: Mapping[str, Any],
    folder: ModelFolder,
    *,
    more: Iterable[str] = (),
) -> tuple[Any, dict[str, Any]]:
    """Make the configuration of a network from untrusted values.

    Only values that the class itself declares are used: none that names files, code or kernels.
    `more` are names that the class reads without declaring them, in some versions.

    Returns:
        The configuration, and those of its values that the vectors depend on and that differ from
        the defaults of the class, as plain JSON data.

    Raises:
        WeightsError: A value is not of its kind, or larger than any real network has.
    """
    made_by = getattr(transformers, class_name)
    declared = _declared(made_by)
    own = (declared.keys() - _declared(transformers.PretrainedConfig).keys()) | set(more)
    values = {
        key: value
        for key, value in given.items()
        if key in own and not key.startswith("_") and value is not None
    }
    for key, value in values.items():
        _check_value(key, value, folder)
    try:
        config = made_by(**values)
    except Exception as error:  # transformers checks values with errors of many kinds
        raise _no_network(folder, error) from None
    facts = {
        key: value
        for key, value in sorted(values.items())
        if not _TRAINING_ONLY.search(key)
        and (key not in declared or _plain(declared[key].default) != value)
    }
    return config, facts


def whole_number(config: Any, key: str, folder: ModelFolder) -> int:
    """A size in a configuration.

    Raises:
        WeightsError: It is no whole number above 0.
    """
    value = getattr(config, key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise WeightsError(
            f"{folder.text}: config.json has {key}={brief(value)}; expected a whole number above 0"
        )
    return value


def _declared(made_by: Any) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(made_by.__init__).parameters


def _plain(value: Any) -> Any:
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value


def _check_value(key: str, value: Any, folder: ModelFolder) -> None:
    inside = cast("list[Any]", value) if isinstance(value, list) else [value]
    most = _MOST_DEPTH // len(inside or [0]) if _DEPTH.search(key) else _MOST_NUMBER
    for one in inside:
        is_number = isinstance(one, int | float) and not isinstance(one, bool)
        if is_number and not abs(one) <= most:
            raise WeightsError(
                f"{folder.text}: config.json has {key}={brief(value)}; expected at most {most}"
            )
        if not isinstance(one, int | float | str) or len(inside) > 64 or len(str(one)) > 64:
            raise WeightsError(
                f"{folder.text}: config.json has {key}={brief(value)}; expected a number, a word "
                "or a short list of numbers"
            )


def check_tokens(tokens: int, width: int, folder: ModelFolder) -> None:
    """Check that a network does not look at more places at once than any real one.

    Raises:
        WeightsError: It does.
    """
    if not 0 < tokens <= _MOST_TOKENS or not 0 < width * tokens <= _MOST_TABLE:
        raise WeightsError(
            f"{folder.text}: config.json describes a network that looks at {tokens:,} places of "
            f"{width:,} numbers at once; no real one does"
        )


def load_network(
    transformers: Any,
    class_name: str,
    config: Any,
    folder: ModelFolder,
    names: Iterable[str],
    *,
    may_miss: str = r"$^",
    **arguments: Any,
) -> nn.Module:
    """Build a network and fill it with the tensors of its files.

    Args:
        transformers: The package.
        class_name: Of the network, in the package.
        config: From `make_config`.
        folder: Its files.
        names: Tensors to read, from `ModelFolder.tensors`. Those that the network does not have
            are ignored.
        may_miss: Pattern of names that may be missing, because the network is used without them.
        arguments: For the class.

    Returns:
        The network in float32, for evaluation, without gradients.

    Raises:
        WeightsError: It cannot be built, does not fit into memory, or its tensors are missing, of
            other shapes, or not finite.
    """
    made_by = getattr(transformers, class_name)
    shapes = folder.tensors()
    names = list(names)
    _check_memory(lambda: made_by(config, **arguments), [shapes[name] for name in names], folder)
    state = folder.read(names)
    for name, tensor in state.items():
        if not tensor.is_floating_point() and not name.endswith(("position_ids", "tracked")):
            raise WeightsError(
                f"{folder.text}: {name} holds numbers of type {tensor.dtype}; expected floating "
                "point; is the model quantised?"
            )
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise WeightsError(f"{folder.text}: {name} holds values that are not finite")
    try:
        with _quiet(transformers), keep_random_state():
            network, found = made_by.from_pretrained(
                None,
                config=config,
                state_dict=state,
                dtype=torch.float32,
                output_loading_info=True,
                ignore_mismatched_sizes=True,
                **arguments,
            )
    except Exception as error:  # transformers raises many kinds
        raise _no_network(folder, error) from None
    optional = re.compile(may_miss)
    missing = [name for name in found["missing_keys"] if not optional.search(name)]
    other = [name for name in found["mismatched_keys"] if not optional.search(str(name[0]))]
    if missing or other or found.get("error_msgs"):
        parts = [f"without {few(sorted(missing), 4)}"] if missing else []
        parts += [f"{name} has another shape: {few(rest)}" for name, *rest in other[:3]]
        parts += list(map(str, found.get("error_msgs") or []))[:2]
        raise WeightsError(
            f"{folder.text}: its tensors do not fit {class_name}: {'; '.join(parts)}; were weights "
            "and config.json mixed up, or was the file cut?"
        )
    return cast(nn.Module, network.eval().requires_grad_(requires_grad=False))


def used_tensors(network: nn.Module, *, unused: str = r"$^") -> dict[str, Tensor]:
    """The tensors of a network that its vectors depend on."""
    pattern = re.compile(rf"num_batches_tracked$|position_ids$|mask_token$|{unused}")
    return {
        name: tensor for name, tensor in network.state_dict().items() if not pattern.search(name)
    }


def _check_memory(
    build: Callable[[], nn.Module], shapes: Iterable[tuple[int, ...]], folder: ModelFolder
) -> None:
    """Compare the memory that a network needs with its files and the machine."""
    try:
        with torch.device("meta"):
            outline = build()
        needed = sum(tensor.numel() for tensor in outline.state_dict().values()) * 4
    except Exception as error:  # of whatever a wrong size is in the way
        raise _no_network(folder, error) from None
    held = 4 * sum(torch.Size(shape).numel() for shape in shapes)
    if needed > max(_FREE_BYTES, 4 * held):
        raise WeightsError(
            f"{folder.text}: config.json describes a network of {needed / 1e9:,.1f} GB, but its "
            f"files hold {held / 1e9:,.1f} GB"
        )
    if (there := memory_bytes()) < 2 * held:
        raise WeightsError(
            f"{folder.text}: loading its weights takes {2 * held / 1e9:,.1f} GB, and this machine "
            f"has {there / 1e9:,.1f} GB; choose a smaller model"
        )


def _no_network(folder: ModelFolder, error: Exception) -> WeightsError:
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    return WeightsError(f"{folder.text}: config.json describes no network: {reason}")


@contextmanager
def _quiet(transformers: Any) -> Generator[None]:
    """Without progress bars and tables of tensors that are meant to be left out."""
    logging = transformers.utils.logging
    before, had_bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)
        if had_bars:
            logging.enable_progress_bar()

"""Video understanding in PyTorch: from mp4 to answer.

>>> import videozoo
>>> "tsm" in videozoo.list_models()
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from videozoo.network import forbid_libraries

if TYPE_CHECKING:
    from videozoo.config import load_config as load_config
    from videozoo.data.frames.video import open_video as open_video
    from videozoo.models import list_models as list_models
    from videozoo.tasks.interface import create_model as create_model
    from videozoo.tasks.interface import load as load
    from videozoo.tasks.interface import train as train
    from videozoo.tasks.interface import write_csv as write_csv
    from videozoo.tasks.interface import write_page as write_page
    from videozoo.tasks.interface import write_subtitles as write_subtitles

__version__ = "0.1.0"

forbid_libraries()  # before any of them is imported

_HOMES = {
    "create_model": "videozoo.tasks.interface",
    "list_models": "videozoo.models",
    "load": "videozoo.tasks.interface",
    "load_config": "videozoo.config",
    "open_video": "videozoo.data.frames.video",
    "train": "videozoo.tasks.interface",
    "write_csv": "videozoo.tasks.interface",
    "write_page": "videozoo.tasks.interface",
    "write_subtitles": "videozoo.tasks.interface",
}

__all__ = [
    "__version__",
    "create_model",
    "list_models",
    "load",
    "load_config",
    "open_video",
    "train",
    "write_csv",
    "write_page",
    "write_subtitles",
]


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562): `import videozoo` and the help text stay fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'videozoo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

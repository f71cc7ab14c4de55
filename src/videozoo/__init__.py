"""Video understanding in PyTorch: from mp4 to answer.

>>> import videozoo
>>> "tsm" in videozoo.list_models()
True
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from videozoo.config import load_config as load_config
    from videozoo.data.frames.video import open_video as open_video
    from videozoo.models import build_model as build_model
    from videozoo.models import list_models as list_models
    from videozoo.tasks.run import load as load

__version__ = "0.1.0"

_HOMES = {
    "build_model": "videozoo.models",
    "list_models": "videozoo.models",
    "load": "videozoo.tasks.run",
    "load_config": "videozoo.config",
    "open_video": "videozoo.data.frames.video",
}

__all__ = ["__version__", "build_model", "list_models", "load", "load_config", "open_video"]


def __getattr__(name: str) -> Any:
    """Import on first use (PEP 562): `import videozoo` and the help text stay fast."""
    if name not in _HOMES:
        raise AttributeError(f"module 'videozoo' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)

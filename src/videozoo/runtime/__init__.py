"""Bundles without torch: raw video in, answers out, on numpy, PyAV, Pillow and onnxruntime alone.

    model = videozoo.runtime.load("runs/tsm/best.bundle")
    model.predict("a.mp4").labels[0]

`videozoo export --bundle` writes bundles; `python -m videozoo.runtime BUNDLE VIDEO...` reads them.
"""

from videozoo.runtime.model import BundleModel as BundleModel
from videozoo.runtime.model import load as load

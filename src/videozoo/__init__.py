"""Video understanding in PyTorch: from mp4 to answer."""

__version__ = "0.1.0"

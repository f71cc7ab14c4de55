"""What reading a safetensors file may raise: its package lets errors of others through."""

from __future__ import annotations

from safetensors import SafetensorError

READING_ERRORS = (
    OSError,
    SafetensorError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""For `except` around nothing but reading: a type that the package or PyTorch does not know, a name
that is not there, a shape that does not fit."""

"""Fuzzing of every reader of files: seeded, structure-aware, in child processes with limits.

See `tests/fuzz/README.md`.
"""

import os
from collections.abc import Iterator

import pytest
import torch

from tests.forked import Forks


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Starts commands in processes of their own, quickly."""
    if not hasattr(os, "fork"):
        pytest.skip("this system has no fork")
    started = Forks()
    yield started
    started.close()


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny networks gain nothing from threads, and lose much when the machine is busy."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

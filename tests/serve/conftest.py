from pathlib import Path

import pytest

from tests.untrained import untrained_tsm


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip model that says always the same."""
    return untrained_tsm(tmp_path_factory.mktemp("run"), bias=9)

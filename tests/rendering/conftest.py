from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsn_core.contracts.templates import engines


@pytest.fixture(autouse=True)
def _workers_runner(workers_runner: None) -> None:
    """Nothing is sent until a test says so."""


@pytest.fixture
def template_folder(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """A folder of template files of the project."""
    from dsn_core.rendering import install_engines

    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    before = dict(engines)
    install_engines()
    yield tmp_path
    engines.update(before)

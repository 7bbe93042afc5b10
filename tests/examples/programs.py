"""How the tests run the example's programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import pytest

from tests import services

ROOT: Final = Path(__file__).resolve().parent.parent.parent
CINEMA: Final = ROOT / "examples" / "cinema"
SECONDS: Final = 200
#: What the example finds by entry points.
PLUGINS: Final = {"dsn_email.plugin", "dsn_telegram.plugin", "dsn_sms.plugin"}


def has_plugins() -> bool:
    """Whether the plugins are installed as packages."""
    from importlib_metadata import entry_points

    return {found.value for found in entry_points(group="dsn")} >= PLUGINS


MARKS: Final = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not has_plugins() and not services.is_required(),
        reason="dsn-email, dsn-telegram or dsn-sms is not installed as a package",
    ),
]


def environment(**more: str) -> dict[str, str]:
    """That of a person's shell: nothing of this suite's settings."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DSN_"))}
    path = os.pathsep.join(filter(None, [os.fspath(ROOT), os.environ.get("PYTHONPATH", "")]))
    return inherited | {"PYTHONPATH": path, "COLUMNS": "80"} | more


def without_databases(folder: str, names: list[str]) -> list[str]:
    """For ``shutil.copytree``: a copy of the example begins with no database."""
    return [name for name in names if name == "__pycache__" or ".sqlite3" in name]

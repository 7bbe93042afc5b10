"""Installs what the machine lacks: system packages, by apt, and the database driver that is compiled with them."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import servers


def _missing() -> Iterator[str]:
    """The packages of what is not here."""
    for program in ("make", "gcc", "pkg-config"):
        if not shutil.which(program):
            yield program
    # What mysqlclient is compiled with.
    finder = shutil.which("pkg-config")
    asked = ([finder, "--exists", name] for name in ("mariadb", "mysqlclient") if finder)
    if not any(subprocess.run(command, check=False).returncode == 0 for command in asked):
        yield "libmariadb-dev"
    # Faults and one of the Celery tests start a server of their own, to end it.
    for server in servers.SERVERS:
        if not server.find():
            yield server.package


def install_packages() -> str:
    """Install what is missing; return why that failed."""
    if packages := list(_missing()):
        print(f"installing: {' '.join(packages)}", flush=True)
        sudo = [] if os.geteuid() == 0 else ["sudo", "-n", "--preserve-env=DEBIAN_FRONTEND"]
        try:
            for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", *packages]):
                subprocess.run(
                    [*sudo, "apt-get", *command], check=True, timeout=600, text=True,
                    stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )  # fmt: skip
        except (OSError, subprocess.SubprocessError) as error:
            print(str(getattr(error, "stdout", None) or "")[-3_000:])
            return f"install {' '.join(packages)} by hand: {error}"
    if not importlib.util.find_spec("MySQLdb"):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet", "install", "--group", "mariadb"]
        if subprocess.run(pip, stdin=subprocess.DEVNULL, check=False).returncode:
            return "MariaDB's driver could not be installed"
        importlib.invalidate_caches()
    return ""

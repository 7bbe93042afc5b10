"""Starts a stand-in that is a separate program, and ends it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any, Final

FOLDER: Final = Path(__file__).resolve().parent.parent
#: Seconds that it may take to answer and to end.
PATIENCE: Final = 30
#: This machine is never reached through a proxy of the environment.
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Program:
    """``python -m stand_ins.<name>``, from ``with`` to the end of its block. What it shows is printed.

    ``url`` is where it listens, known inside of the block.
    """

    def __init__(self, name: str, *arguments: str) -> None:
        self.name = name
        self.url = ""
        self._command = [sys.executable, "-m", f"stand_ins.{name}", *arguments]

    def __enter__(self) -> Program:
        self._process = subprocess.Popen(
            self._command,
            cwd=FOLDER,
            env=os.environ | {"PYTHONIOENCODING": "utf-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        assert self._process.stdout is not None
        port = self._process.stdout.readline().strip()
        if not port:
            self._process.wait(PATIENCE)
            raise RuntimeError(f"{self.name} did not start; may programs open a port on 127.0.0.1 here?")
        self.url = f"http://127.0.0.1:{port}"
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout], daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        self._process.stdout.close()

    def ask(self, path: str, said: Any = None) -> Any:
        """Its answer to a GET, or to a POST of ``said``; both are JSON."""
        data = None if said is None else json.dumps(said).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"})  # noqa: S310
        with _direct.open(request, timeout=PATIENCE) as answer:
            return json.load(answer)

    def _read(self, output: Any) -> None:
        for line in output:
            print(json.loads(line), flush=True)

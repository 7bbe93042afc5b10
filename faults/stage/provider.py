"""A provider that keeps what it took in a file: one line per message, written at once, by any process.

The file outlives the process that wrote it, and no transaction undoes a line: it holds what was really sent.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """One message that the provider took: its id, by which process, when (seconds since the epoch), in which batch."""

    message_id: str
    pid: int
    at: float
    batch: int


class Provider:
    """The file ``path``."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def take(self, message_id: str, batch: int) -> None:
        """Take a message. One write of less than a block: lines of several processes do not mix."""
        line = f"{message_id} {os.getpid()} {time.time():.6f} {batch}\n".encode()
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)

    def taken(self) -> list[Taken]:
        """All that was taken, in order."""
        if not self._path.exists():
            return []
        lines = self._path.read_text(encoding="ascii").splitlines()
        fields = [line.split() for line in lines]
        return [Taken(message_id, int(pid), float(at), int(batch)) for message_id, pid, at, batch in fields]

    def counts(self) -> Counter[str]:
        """How often each message was taken."""
        return Counter(item.message_id for item in self.taken())

    def __len__(self) -> int:
        return self._path.read_bytes().count(b"\n") if self._path.exists() else 0


def of_environment() -> Provider:
    """The provider of this process."""
    return Provider(Path(os.environ["FAULTS_PROVIDER"]))

"""Several commands of ``manage.py`` in one process, where what is tested is what each of them says.

Each is run as from the command line, with its checks; most of the time of a command is its process's start.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

#: The program. Its argument is the commands as JSON; it prints what became of each.
PROGRAM = """
import contextlib, io, json, sys
from django.core.management import ManagementUtility

answers = []
for arguments in json.loads(sys.argv[1]):
    out, err, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            ManagementUtility(["manage.py", *arguments]).execute()
        except SystemExit as end:
            status = end.code or 0
    answers.append({"status": status, "stdout": out.getvalue(), "stderr": err.getvalue()})
print(json.dumps(answers))
"""


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    status: int
    stdout: str
    stderr: str


def arguments(*commands: Sequence[str]) -> list[str]:
    """What Python is given to run the commands."""
    return ["-c", PROGRAM, json.dumps(commands)]


def answers(printed: str, *statuses: int) -> list[Answer]:
    """What each command said, after a look whether it ended with its status."""
    found = [Answer(**answer) for answer in json.loads(printed.splitlines()[-1])]
    assert [answer.status for answer in found] == list(statuses), printed
    return found

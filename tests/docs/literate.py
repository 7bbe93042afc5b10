"""Runs a page of the documentation, as a reader would who does what it says, from top to bottom.

What a code block is told by its language and its title (``title="..."`` after the language, or
the option ``:caption:`` of MyST's ``code-block``):

- ``console``: its lines that begin with ``$`` are commands
- titled ``python manage.py shell``: goes into the shell
- titled with a path: is written to that file; with ``, at the end`` after it, is added to that file
- ``text`` without a title: what the last command or shell showed. ``...`` stands for any lines.

A title may end with the versions it is for, as in ``(Django 5.2 and 6.0)``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import django

ROOT = Path(__file__).resolve().parents[2]
#: The folders of the distributions.
DISTRIBUTIONS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]
#: Those that the pages tell their reader to install. The others, which the tests have beside them, are hidden.
READERS = ("dsn-core", "dsn-email")
#: Seconds for one command.
PATIENCE = 300

#: Python imports it by itself, wherever its folder is on the path.
_HIDE = """
import importlib_metadata

_distributions = importlib_metadata.distributions


def _without(**given):
    return (found for found in _distributions(**given) if found.metadata["Name"] not in {hidden})


importlib_metadata.distributions = _without
"""

_FENCE = re.compile(r"^(?P<fence>`{3,}|:{3,})(?P<info>.*)$")
_VERSIONS = re.compile(r"\s*\(Django (?P<versions>[^)]*)\)$")


@dataclass(frozen=True)
class Block:
    """A code block: its language, title and text, and the line of the page at which it begins."""

    language: str
    title: str
    text: str
    line: int


def blocks(markdown: str) -> Iterator[Block]:
    """The code blocks of a page, in their order."""
    lines = enumerate(markdown.splitlines(), start=1)
    for number, line in lines:
        opening = _FENCE.match(line)
        if opening is None:
            continue
        info = opening["info"].strip()
        body = []
        for _number, inner in lines:
            if inner.strip() == opening["fence"]:
                break
            body.append(inner)
        if info.startswith("{") and not info.startswith("{code-block}"):
            continue
        options = {}
        if info.startswith("{code-block}"):
            info = info.removeprefix("{code-block}").strip()
            while body and (option := re.match(r":(\w+):\s*(.*)", body[0])):
                options[option[1]] = option[2]
                body.pop(0)
        title = re.search(r'title="([^"]*)"', info)
        text = "\n".join(body).strip("\n") + "\n"
        yield Block((info.split() or [""])[0], title[1] if title else options.get("caption", ""), text, number)


def is_meant(title: str) -> bool:
    """Whether the versions at the end of ``title``, if there are any, include the Django that runs."""
    found = _VERSIONS.search(title)
    return found is None or "{}.{}".format(*django.VERSION[:2]) in re.findall(r"\d+\.\d+", found["versions"])


class Reader:
    """Somebody who does what a page says, in an empty folder.

    The packages of this repository stand for what ``pip install`` brings: their sources are on the
    path, and beside them the metadata by which entry points are found.
    """

    #: The Python that runs commands.
    python = sys.executable

    def __init__(self, folder: Path) -> None:
        self.place = folder / "work"
        self.place.mkdir()
        self.shown = self.complaints = ""
        self.installed = folder / "installed"
        hidden = []
        for distribution in DISTRIBUTIONS:
            if distribution == ROOT or distribution.name in READERS:
                write_metadata(distribution, self.installed)
            else:
                hidden.append(distribution.name)
        (self.installed / "sitecustomize.py").write_text(_HIDE.replace("{hidden}", repr(hidden)), encoding="utf-8")
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("DJANGO_", "DSN_", "PYTEST_"))
        }
        path = [self.installed, *DISTRIBUTIONS, *filter(None, [os.environ.get("PYTHONPATH")])]
        self.environment = kept | {"PYTHONPATH": os.pathsep.join(map(os.fspath, path)), "NO_COLOR": "1"}

    def follow(self, page: Path) -> None:
        """Do all that ``page`` says."""
        for block in blocks(page.read_text(encoding="utf-8")):
            try:
                self.do(block)
            except AssertionError as error:
                raise AssertionError(f"{page.name}, line {block.line}: {error}") from None

    def do(self, block: Block) -> None:
        """Do what one block says."""
        if not is_meant(block.title):
            return
        title = _VERSIONS.sub("", block.title)
        if block.language == "console":
            for line in block.text.splitlines():
                if line.startswith("$ "):
                    for command in line[2:].split("&&"):
                        self.command(command.strip())
        elif title == "python manage.py shell":
            self.run([self.python, "manage.py", "shell"], typed=block.text)
        elif title:
            name, _, where = title.partition(", ")
            assert where in {"", "at the end"}, f"the title {block.title!r} says nothing that can be done"
            file = self.place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            before = file.read_text(encoding="utf-8") + "\n" if where else ""
            file.write_text(before + block.text, encoding="utf-8")
        elif block.language == "text":
            self.expect(block.text)

    def command(self, command: str) -> None:
        """Do what the command does to somebody's shell."""
        words = shlex.split(command)
        if words[:4] == ["pip", "install", "-e", "."]:
            write_metadata(self.place, self.installed)
            return
        if words[:2] == ["pip", "install"] or words[1:3] == ["-m", "venv"] or words[0] == ".":
            return
        if words[0] == "cd":
            self.place = self.place / words[1]
            return
        if words == ["python", "manage.py", "shell"]:
            # What is typed there stands in the block that follows.
            return
        starts = {"python": [], "django-admin": ["-m", "django"], "pytest": ["-m", "pytest", "-p", "no:cacheprovider"]}
        assert words[0] in starts, f"nobody knows how to do {command!r}"
        self.run([self.python, *starts[words[0]], *words[1:]])

    def run(self, command: list[str], typed: str = "") -> None:
        """Run it; it must succeed, and without a warning."""
        done = subprocess.run(
            command,
            cwd=self.place,
            env=self.environment,
            input=typed,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=PATIENCE,
            check=False,
        )
        self.shown, self.complaints = done.stdout, done.stderr
        assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, f"{' '.join(command)} says:\n{done.stderr}"
        assert "Warning" not in done.stderr, f"{' '.join(command)} warns:\n{done.stderr}"
        assert "WARNINGS" not in done.stderr, f"{' '.join(command)} warns:\n{done.stderr}"

    def expect(self, text: str) -> None:
        """The lines of ``text`` were shown, one after the other; other lines only where it says ``...``."""
        shown = [line.rstrip() for line in self.shown.splitlines()]
        position: int | None = None
        for line in (line.rstrip() for line in text.splitlines()):
            if line == "...":
                position = None if position is None else -position
                continue
            begin = 0 if position is None else abs(position)
            anywhere = position is None or position < 0
            candidates = range(begin, len(shown)) if anywhere else range(begin, min(begin + 1, len(shown)))
            found = next((index for index in candidates if line in shown[index]), None)
            assert found is not None, (
                f"this line was not shown: {line!r}\nWhat was shown:\n{self.shown}{self.complaints}"
            )
            position = found + 1


def write_metadata(distribution: Path, into: Path) -> None:
    """What pip writes down of a distribution when it installs it, as far as entry points need it."""
    project = tomllib.loads((distribution / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = project["name"], project["version"]
    folder = into / f"{name.replace('-', '_')}-{version}.dist-info"
    folder.mkdir(parents=True)
    summary = project.get("description", "")
    (folder / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nSummary: {summary}\n", encoding="utf-8"
    )
    groups = project.get("entry-points", {}).items()
    sections = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in points.items()) for group, points in groups
    ]
    (folder / "entry_points.txt").write_text("\n".join(sections), encoding="utf-8")

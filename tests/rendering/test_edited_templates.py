"""Template files that are edited while the process runs: seen under DEBUG, compiled once in production."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dsn_core import BaseMessageTemplate
from dsn_core.contracts.templates import engines
from dsn_core.exceptions import RenderingError
from dsn_core.models import Delivery, Trigger
from dsn_core.rendering import install_engines
from tests.testapp.models import Movie
from tests.waiting import PATIENCE, wait_for

if TYPE_CHECKING:
    from pytest_django import Settings

ENGINES = ("jinja2", "django")
#: The files, and for each what is edited in it.
FILES = {
    "layout.txt": "{% block subject %}{% endblock %}{% block text %}LAYOUT old {% block body %}{% endblock %}"
    "{% endblock %}{% block html %}<p>LAYOUT old</p>{% endblock %}",
    "footer.txt": "FOOTER old",
    "note.txt": "{% extends 'layout.txt' %}{% block subject %}SUBJECT old{% endblock %}"
    "{% block body %}NOTE old {% include 'footer.txt' %}{% endblock %}",
    "whole.txt": "WHOLE old",
}


@pytest.fixture
def folder(tmp_path: Path, settings: Settings) -> Iterator[Path]:
    """A template folder of the project's; the engines are made for it when they are first used."""
    for name, source in FILES.items():
        (tmp_path / name).write_text(source, encoding="utf-8")
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [str(tmp_path)]}]
    install_engines()
    yield tmp_path
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": []}]
    settings.DEBUG = False
    engines.clear()
    install_engines()


def edit(folder: Path, name: str) -> None:
    (folder / name).write_text(FILES[name].replace("old", "new"), encoding="utf-8")
    # As if some time had passed: the clock of a file system may be coarser than this test is quick.
    later = time.time() + 2
    os.utime(folder / name, (later, later))


def sample(engine: str, **sources: str) -> BaseMessageTemplate:
    made: type[BaseMessageTemplate] = type("Sample", (BaseMessageTemplate,), {"engine": engine, **sources})
    return made()


#: How a message template names the files, and the parts of it that come from each.
CASES = [
    pytest.param({"file_name": "whole.txt"}, "whole.txt", {"text": "WHOLE"}, id="whole file"),
    pytest.param({"file_name": "note.txt"}, "note.txt", {"text": "NOTE", "subject": "SUBJECT"}, id="blocks"),
    pytest.param({"file_name": "note.txt"}, "layout.txt", {"text": "LAYOUT", "html": "LAYOUT"}, id="layout"),
    pytest.param({"file_name": "note.txt"}, "footer.txt", {"text": "FOOTER"}, id="include"),
    pytest.param({"template_string": FILES["note.txt"]}, "layout.txt", {"text": "LAYOUT"}, id="layout of a string"),
    pytest.param({"text": "{% include 'footer.txt' %}"}, "footer.txt", {"text": "FOOTER"}, id="include of a part"),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(("sources", "edited", "said"), CASES)
@pytest.mark.parametrize("debug", [True, False])
def test_an_edit_is_seen_by_the_next_message_under_debug_only(
    folder: Path,
    settings: Settings,
    engine: str,
    sources: dict[str, str],
    edited: str,
    said: dict[str, str],
    debug: bool,
) -> None:
    settings.DEBUG = debug
    template = sample(engine, **sources)
    before = template.render()
    assert all(f"{word} old" in getattr(before, part) for part, word in said.items())

    edit(folder, edited)

    after = template.render()
    found = {part: f"{word} new" in getattr(after, part) for part, word in said.items()}
    assert found == dict.fromkeys(said, debug)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_slip_while_editing_is_said_and_mended(folder: Path, settings: Settings, engine: str) -> None:
    settings.DEBUG = True
    template = sample(engine, file_name="whole.txt")
    assert template.render().text == "WHOLE old"

    (folder / "whole.txt").write_text("{% if %}", encoding="utf-8")
    with pytest.raises(RenderingError, match=r"whole\.txt"):
        template.render()

    edit(folder, "whole.txt")
    assert template.render().text == "WHOLE new"


class Note(BaseMessageTemplate):
    """What the worker renders."""

    name = "edited_note"
    file_name = "edited_note.txt"


APP = """
from dsn_core import BaseMessageTemplate, hookimpl

class Note(BaseMessageTemplate):
    name = "edited_note"
    file_name = "edited_note.txt"

@hookimpl
def dsn_message_templates(): return [Note]
"""


@pytest.mark.timeout(300)
def test_a_worker_under_debug_sends_what_the_file_says_now(
    tmp_path: Path, child_environment: dict[str, str], dsn: Any
) -> None:
    (tmp_path / "edited").mkdir()
    (tmp_path / "edited" / "__init__.py").touch()
    (tmp_path / "edited" / "dsn_plugin.py").write_text(APP, encoding="utf-8")
    (tmp_path / "edited_settings.py").write_text(
        "from tests.settings import *\nfrom tests.settings import INSTALLED_APPS, TEMPLATES\n"
        f"DEBUG = True\nINSTALLED_APPS += ['edited']\nTEMPLATES[0]['DIRS'] = [{os.fspath(tmp_path)!r}]\n",
        encoding="utf-8",
    )
    file = tmp_path / "edited_note.txt"
    file.write_text("It says old.", encoding="utf-8")
    dsn.add(Note)
    trigger = Trigger.objects.define("post_save", action_object=Movie)
    trigger.subscribe(addresses=[("console", "desk")], backends=[("console", "edited_note")])
    path = os.pathsep.join([os.fspath(tmp_path), child_environment["PYTHONPATH"]])
    variables = child_environment | {"DJANGO_SETTINGS_MODULE": "edited_settings", "PYTHONPATH": path}
    with _working(variables) as said:
        Movie.objects.create(name="Brazil")
        wait_for(lambda: any("It says old." in line for line in said), lambda: said)
        file.write_text("It says new.", encoding="utf-8")
        Movie.objects.create(name="Alien")
        wait_for(lambda: any("It says new." in line for line in said), lambda: said)
    assert set(Delivery.objects.values_list("status", flat=True)) == {"sent"}


@contextlib.contextmanager
def _working(variables: dict[str, str]) -> Iterator[list[str]]:
    """``dsn_worker`` in a process of its own; the lines that it writes."""
    process = subprocess.Popen(
        [sys.executable, "-m", "django", "dsn_worker"],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    said: list[str] = []
    assert process.stdout is not None
    reader = threading.Thread(target=said.extend, args=(process.stdout,))
    reader.start()
    try:
        yield said
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE) == 0, said
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        reader.join(PATIENCE)
        process.stdout.close()

"""What README.md and the tutorial tell a reader to do works, word by word."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import settings
from tests.docs.literate import ROOT, Block, Reader, blocks

# The reader's project has an SQLite database of its own, whatever the suite runs on.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(settings.DATABASE != "sqlite", reason="the same on every database: run with SQLite"),
]


def test_the_tutorial_and_the_guides_that_build_on_it_can_be_followed(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.follow(ROOT / "docs/tutorial.md")

    samples = [block.text for block in _samples("howto/testing.md") if "def test_" in block.text]
    assert len(samples) == 4
    for number, sample in enumerate(samples):
        (reader.place / f"movies/test_{number}.py").write_text(sample, encoding="utf-8")
    reader.command("pytest -q -o python_files=test_*.py")
    assert "4 passed" in reader.shown

    groups = "from django.contrib.auth.models import Group\nGroup.objects.create(name='staff')\n"
    reader.run([reader.python, "manage.py", "shell"], typed=groups)
    for page in ("howto/setup.md", "explanation/outbox.md", "reference/signals.md"):
        for block in _samples(page):
            reader.run([reader.python, "manage.py", "shell"], typed=block.text)
    # All that was recorded on the way can be worked off.
    reader.command("python manage.py dsn_worker --once")
    assert "Done: " in reader.shown


def test_the_guide_to_messengers_can_be_followed(tmp_path: Path) -> None:
    Reader(tmp_path).follow(ROOT / "docs/howto/messenger.md")


def test_the_quickstart_of_the_readme_can_be_followed(tmp_path: Path) -> None:
    quickstart = _section("Sixty seconds")
    page = tmp_path / "README.md"
    page.write_text(quickstart, encoding="utf-8")

    reader = Reader(tmp_path)
    reader.follow(page)

    assert reader.place.name == "mysite"
    assert "('email', 'ann@example.org', 'sent')" in reader.shown


@pytest.fixture
def chat_room() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """A web server that stands in for a chat room: its address, and what was posted."""
    posted: list[dict[str, str]] = []

    class Room(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a test's output is no place for it."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Room) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", posted
        server.shutdown()
        thread.join()


def test_the_plugin_of_the_readme_delivers(tmp_path: Path, chat_room: tuple[str, list[dict[str, str]]]) -> None:
    address, posted = chat_room
    reader = Reader(tmp_path)
    reader.command("django-admin startproject mysite")
    reader.command("cd mysite")
    for block in blocks(_section("A plugin")):
        reader.do(block)
    reader.command("pip install -e .")
    settings = reader.place / "mysite/settings.py"
    configured = f"INSTALLED_APPS += ['dsn_core']\nDSN = {{'MESSENGERS': {{'chat': {{'WEBHOOK_URL': '{address}'}}}}}}\n"
    configured += "DATABASES['default']['OPTIONS'] = {'transaction_mode': 'IMMEDIATE'}\n"
    settings.write_text(settings.read_text(encoding="utf-8") + configured, encoding="utf-8")

    reader.command("python manage.py migrate")
    reader.command("python manage.py dsn_plugins --check")
    assert "chat: ready. Posts to the team's chat room." in reader.shown
    reader.run(
        [reader.python, "manage.py", "shell"],
        typed=(
            "from django.contrib.auth.models import User\n"
            "from dsn_core.models import Delivery, Trigger\n"
            "trigger = Trigger.objects.define('post_save', action_object=User)\n"
            "trigger.subscribe(addresses=[('chat', '#lobby')], backends=[('chat', 'simple')])\n"
            "User.objects.create_user('ann')\n"
            "print([delivery.status for delivery in Delivery.objects.all()])\n"
        ),
    )

    assert "['sent']" in reader.shown
    assert [message["text"].splitlines() for message in posted] == [["post_save", "Action object: ann"]]


def _section(title: str) -> str:
    _, _, rest = (ROOT / "README.md").read_text(encoding="utf-8").partition(f"\n## {title}\n")
    assert rest, f"README.md has no section {title!r}"
    return rest.partition("\n## ")[0]


def _samples(page: str) -> list[Block]:
    """The Python samples of a page of docs/."""
    return [block for block in blocks((ROOT / "docs" / page).read_text(encoding="utf-8")) if block.language == "python"]

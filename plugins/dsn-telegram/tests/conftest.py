"""The Bot API as a process of its own on loopback, and what the tests of the plugin share."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dsn_core import Message, Receipt

TOKEN = "123456789:AAF-canary_token-of-the-tests-xyz"
SECRET = "webhook-canary_secret"


class BotApi:
    """The program ``bot_api.py``, and the way to tell it what to do."""

    def __init__(self, *arguments: str, scheme: str = "http", seconds: int = 240) -> None:
        program = Path(__file__).with_name("bot_api.py")
        self._process = subprocess.Popen(
            [sys.executable, program, "--token", TOKEN, "--seconds", str(seconds), *arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def do(self, what: str, **given: Any) -> Any:
        """One of the functions ``do_...`` of the program."""
        body = json.dumps({"do": what, **given}).encode()
        request = urllib.request.Request(f"{self.url}/control", body, {"Content-Type": "application/json"})  # noqa: S310
        with urllib.request.urlopen(request, timeout=120) as response:  # noqa: S310 - loopback
            return json.load(response)

    @property
    def calls(self) -> list[dict[str, Any]]:
        """What was sent, oldest first."""
        return list(self.do("calls"))

    def script(self, *answers: dict[str, Any], chat: str = "*") -> None:
        """The next answers."""
        self.do("script", chat=chat, answers=list(answers))

    def refuse(self, status: int, description: str, *, chat: str = "*", **parameters: Any) -> None:
        """The next answer, in the words of the Bot API."""
        body = {"ok": False, "error_code": status, "description": description, "parameters": parameters}
        self.script({"status": status, "body": body}, chat=chat)


@pytest.fixture(scope="session")
def _running_api() -> Iterator[BotApi]:
    running = BotApi(seconds=1_200)
    yield running
    running.stop()


@pytest.fixture
def api(_running_api: BotApi) -> BotApi:
    """A Bot API without limits, in which nothing has happened yet."""
    _running_api.do("reset")
    _running_api.do("set", limits=False, delay=0, token=TOKEN)
    return _running_api


@pytest.fixture(scope="session")
def start_api() -> Callable[..., BotApi]:
    """Start another one, with arguments of its own; whoever does stops it."""
    return BotApi


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """No connection outlives its test, and no name of a bot is remembered."""
    from django.core.cache import cache

    from dsn_core.kit import http

    cache.clear()
    yield
    http.close_connections()


@pytest.fixture
def telegram(api: BotApi, settings: Any) -> dict[str, Any]:
    """The messenger, configured for that Bot API. Nothing is sent until a test says so."""
    options: dict[str, Any] = {"BOT_TOKEN": TOKEN, "API_BASE": api.url, "WEBHOOK_SECRET": SECRET, "RATE": ""}
    settings.DSN = {"RUNNER": "worker", "MESSENGERS": {"telegram": options}}
    return options


@pytest.fixture
def send(telegram: dict[str, Any], db: None) -> Callable[..., list[Receipt]]:
    """Send messages with the options given by name, and return the receipts in the messages' order."""
    from dsn_telegram import TelegramMessenger

    def send_messages(*messages: Message, **options: Any) -> list[Receipt]:
        messenger = TelegramMessenger("telegram", TelegramMessenger.Options.from_mapping(telegram | options))
        receipts = list(messenger.send_messages(messages))
        named = {id(receipt.message): receipt for receipt in receipts}
        assert len(named) == len(receipts), "a message was answered twice"
        return [named[id(message)] for message in messages if id(message) in named]

    return send_messages


_numbers = iter(range(1, 1_000_000))


@pytest.fixture
def to() -> Callable[..., Message]:
    """A message to a chat; everything else can be given."""

    def make(chat: str = "42", text: str = "It can be seen.", **parts: Any) -> Message:
        return Message(text, **{"address": chat, "id": f"message.{next(_numbers)}", **parts})

    return make


@pytest.fixture
def pages(settings: Any) -> None:
    """The plugin's URLs, with the webhook and the admin, as a project would include them."""
    from django.contrib import admin
    from django.urls import include, path

    urls = types.ModuleType("telegram_urls")
    urls.urlpatterns = [  # type: ignore[attr-defined]  # a URLconf, made here
        path("admin/", admin.site.urls),
        path("telegram/", include("dsn_telegram.urls")),
        path("telegram/", include("dsn_telegram.webhook_urls")),
    ]
    settings.ROOT_URLCONF = urls
    settings.LOGIN_URL = "/login/"


@pytest.fixture
def ann(db: None) -> Any:
    from django.contrib.auth.models import User

    return User.objects.create_user("ann", "ann@example.org", "pass")


@pytest.fixture
def bob(db: None) -> Any:
    from django.contrib.auth.models import User

    return User.objects.create_user("bob", "bob@example.org", "pass")


@pytest.fixture
def address_of() -> Callable[[Any], str]:
    """A user's stored chat."""

    def find(user: Any) -> str:
        from dsn_core.models import Address

        rows = Address.objects.filter(user=user, messenger="telegram")
        return str(rows.values_list("address", flat=True).first() or "")

    return find

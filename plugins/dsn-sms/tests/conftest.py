"""A stand-in for the providers, as a process of its own, and what sends through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings as django_settings

from dsn_core import Message, Receipt
from dsn_core.kit import http
from dsn_sms import SMSMessenger, SMSOptions

PROGRAM = Path(__file__).with_name("provider_server.py")
#: Seconds after which the process ends by itself, whatever happens to the tests.
LIFETIME = 3_600

ACCOUNT = "AC0123456789abcdef0123456789abcdef"
TOKEN = "canary-auth-token-0123456789"
#: A possible number that nobody has, of the country that the tests' REGION names.
PHONE = "+4915112345678"


def pytest_configure() -> None:
    if django_settings.configured or os.environ.get("DJANGO_SETTINGS_MODULE"):
        return
    import django

    django_settings.configure(
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "dsn_core"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        SECRET_KEY="only-for-tests",
        USE_TZ=True,
    )
    django.setup()


class ProviderProcess:
    """The program ``provider_server.py``, running."""

    def __init__(self, *arguments: str, scheme: str = "http") -> None:
        self._process = subprocess.Popen(
            [sys.executable, os.fspath(PROGRAM), "--seconds", str(LIFETIME), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())
        self.url = f"{scheme}://127.0.0.1:{self.port}"

    def stop(self) -> None:
        self._process.communicate(timeout=120)

    def _ask(self, path: str, said: Any = None) -> Any:
        data = None if said is None else json.dumps(said).encode()
        # Loopback, and not past any proxy of the environment.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"{self.url}{path}", data, timeout=120) as answer:
            return json.load(answer)

    def reset(self) -> None:
        self._ask("/_reset")

    def script(self, **said: Any) -> None:
        """Say how it is to answer from now on."""
        self._ask("/_script", said)

    def files(self, **by_path: str) -> None:
        """Let it serve these texts at these paths."""
        self._ask("/_files", {f"/{name}.pem": text for name, text in by_path.items()})

    @property
    def seen(self) -> dict[str, Any]:
        """What it was asked, and how many connections there were."""
        found: dict[str, Any] = self._ask("/_requests")
        return found

    @property
    def requests(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.seen["requests"]
        return found


@pytest.fixture(scope="session")
def provider_process() -> Iterator[ProviderProcess]:
    process = ProviderProcess()
    yield process
    process.stop()


@pytest.fixture(scope="session", autouse=True)
def _no_connection_is_left() -> Iterator[None]:
    yield
    http.close_connections()


@pytest.fixture
def provider(provider_process: ProviderProcess) -> ProviderProcess:
    """The stand-in, without memory of earlier tests."""
    provider_process.reset()
    return provider_process


@pytest.fixture
def start_provider() -> Iterator[Callable[..., ProviderProcess]]:
    """Start another one, with arguments of its own."""
    started: list[ProviderProcess] = []

    def start(*arguments: str, scheme: str = "http") -> ProviderProcess:
        started.append(ProviderProcess(*arguments, scheme=scheme))
        return started[-1]

    yield start
    for process in started:
        process.stop()


@pytest.fixture
def options_for(provider: ProviderProcess) -> Callable[..., dict[str, Any]]:
    """The options of a provider's account at the stand-in."""

    def make(name: str = "twilio", **more: Any) -> dict[str, Any]:
        own: dict[str, dict[str, Any]] = {
            "twilio": {"ACCOUNT_SID": ACCOUNT, "AUTH_TOKEN": TOKEN},
            "vonage": {"API_KEY": "a1b2c3d4", "API_SECRET": TOKEN},
            "sns": {"AWS_REGION": "eu-west-1", "ACCESS_KEY_ID": "AKIDEXAMPLE", "SECRET_ACCESS_KEY": TOKEN},
            "http": {
                "URL": f"{provider.url}/send?key={TOKEN}",
                "BODY": {"to": "{to}", "text": "{text}", "from": "{from}"},
                "SUCCESS": {"result.status": ["accepted"]},
                "MESSAGE_ID": "result.messages.0.id",
                "ERROR_CODE": "result.code",
            },
            "console": {},
        }
        base = {"PROVIDER": name, "FROM": "+4930901820", "REGION": "DE", "API_BASE": provider.url, "TIMEOUT": 20}
        return base | own[name] | more

    return make


@pytest.fixture
def messenger(options_for: Callable[..., dict[str, Any]]) -> Callable[..., SMSMessenger]:
    """The messenger with the options of a provider's account at the stand-in."""

    def make(name: str = "twilio", alias: str = "sms", **more: Any) -> SMSMessenger:
        return SMSMessenger(alias, SMSOptions.from_mapping(options_for(name, **more)))

    return make


@pytest.fixture
def send(messenger: Callable[..., SMSMessenger]) -> Callable[..., list[Receipt]]:
    """Send messages, and return their receipts in the messages' order."""

    def send_messages(*messages: Message, by: str = "twilio", **options: Any) -> list[Receipt]:
        receipts = list(messenger(by, **options).send_messages(messages))
        named = {id(receipt.message): receipt for receipt in receipts}
        assert len(named) == len(receipts), "a message was answered twice"
        return [named[id(message)] for message in messages if id(message) in named]

    return send_messages


@pytest.fixture
def text_to() -> Callable[..., Message]:
    """A message to a number."""

    def make(to: str = PHONE, text: str = "Solaris is out", **parts: Any) -> Message:
        return Message(text, **{"address": to, "id": f"delivery-{to}"} | parts)

    return make


@pytest.fixture
def callbacks(settings: Any) -> Any:
    """The site's URLs with those of dsn-sms in them."""
    from django.urls import include, path

    urls = types.ModuleType("urls_with_sms")
    urls.urlpatterns = [path("sms/", include("dsn_sms.urls"))]  # type: ignore[attr-defined]
    settings.ROOT_URLCONF = urls
    return urls

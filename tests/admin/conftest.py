"""What the tests of the admin share: a plugin, a superuser's client, and reading pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

import dsn_core
from dsn_core import BaseMessageTemplate, BaseMessenger, BaseReceiverResolver, Message, Options, Receipt, hookimpl
from dsn_core.models import Backend
from dsn_core.plugins.discovery import Candidate
from dsn_core.plugins.registry import registry

#: A secret that must not show anywhere.
SECRET = "s3cret-token"


@dataclass(frozen=True, kw_only=True)
class PagerOptions(Options):
    TOKEN: str = dsn_core.secret()


class Pager(BaseMessenger):
    """Sends to the <pager> on duty."""

    name = "pager"
    Options = PagerOptions

    def send_messages(self, messages: Any) -> list[Receipt]:
        return [Receipt.sent() for _ in messages]

    @classmethod
    def check(cls, options: Any) -> list[Any]:
        return [f"the token {options.TOKEN} has expired"] if options.TOKEN == SECRET else []


class AboutMovie(BaseMessageTemplate):
    """A movie is there."""

    name = "about_movie"
    template_string = "{{ movie }}"
    required_signal_args = ["movie"]


class Plain(BaseMessageTemplate):
    """Says hello."""

    name = "plain"

    def render(self, user: Any = None, trigger_context: Any = None, signal_kwargs: Any = None) -> Message:
        return Message("hello")


class Duty(BaseReceiverResolver):
    """Who is on duty: wants a number."""

    name = "duty"

    def resolve(self, event: Any, argument: str) -> list[Any]:
        return []

    def check_argument(self, argument: str, trigger: Any) -> None:
        if not argument.isdigit():
            raise ValueError(f"{argument!r} is not a number of hours.")


class AdminPlugin:
    @hookimpl
    def dsn_messengers(self) -> list[type[BaseMessenger]]:
        return [Pager]

    @hookimpl
    def dsn_message_templates(self) -> list[type[BaseMessageTemplate]]:
        return [AboutMovie, Plain]

    @hookimpl
    def dsn_receiver_resolvers(self) -> list[type[BaseReceiverResolver]]:
        return [Duty]


def _load() -> Any:
    return AdminPlugin()


@pytest.fixture
def plugin(settings: Any) -> Iterator[Any]:
    """An installed plugin with a messenger, two message templates and a resolver."""
    settings.DSN = {"MESSENGERS": {"pager": {"TOKEN": "right"}, "night": {"MESSENGER": "pager", "TOKEN": SECRET}}}
    candidate = Candidate(name="admin_tests", source="app", module="tests.testapp.no_dsn_plugin", load=_load)
    loaded = registry.add(candidate)
    assert loaded.state == "active", loaded.reason
    yield loaded
    if loaded in registry.plugins:
        registry.remove(loaded)


@pytest.fixture
def uninstall(plugin: Any) -> Callable[[], None]:
    """Take the plugin away, as pip uninstall and a restart do."""
    return lambda: registry.remove(plugin)


@pytest.fixture
def root(db: None) -> User:
    return User.objects.create_superuser("root", "root@example.org", "pw")


@pytest.fixture
def client(root: User) -> Client:
    found = Client()
    found.force_login(root)
    return found


@pytest.fixture
def plain_backend(plugin: Any) -> Backend:
    return Backend.objects.define("pager", "plain")

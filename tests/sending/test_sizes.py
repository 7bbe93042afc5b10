"""Messages that are too large, and memory that is used up: one delivery's trouble, and no other's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from dsn_core import BaseCodec, BaseMessageTemplate, BaseMessenger, Message, Receipt
from dsn_core.models import Delivery
from dsn_core.testing import MemoryMessenger

pytestmark = pytest.mark.django_db

LIMIT = 1_000


class Sized(BaseMessageTemplate):
    """As large as the username says: of which part, and how many bytes."""

    name = "sized"

    def render(self, user: Any = None, trigger_context: Any = None, signal_kwargs: Any = None) -> Message:
        part, _, size = user.username.partition("-")
        text = "ä" * (int(size or 1) // 2)
        if part == "memory":
            raise MemoryError
        return Message(**{part: text}) if part in ("subject", "html") else Message(text)


def summary() -> dict[str, str]:
    return {row.user.username: row.status for row in Delivery.objects.select_related("user")}


@pytest.fixture
def send(signals: Any, subscribe: Any, fire: Any, settings: Any, django_user_model: Any) -> Any:
    settings.DSN = {"RUNNER": "worker", "MAX_MESSAGE_BYTES": LIMIT}
    signals.add(Sized)

    def go(*names: str, messenger: str = "memory", template: str = "sized") -> dict[str, str]:
        people = [django_user_model.objects.create(username=name) for name in names]
        subscribe("a", users=people, backends=[(messenger, template)])
        fire(value="x")
        signals.run()
        return summary()

    return go


@pytest.mark.parametrize("part", ["text", "html", "subject"])
def test_a_message_that_is_too_large_fails_alone(send: Any, part: str) -> None:
    found = send(f"{part}-{LIMIT}", f"{part}-{LIMIT + 2}", f"{part}-{LIMIT // 2}")
    assert found == {f"{part}-{LIMIT}": "sent", f"{part}-{LIMIT + 2}": "failed", f"{part}-{LIMIT // 2}": "sent"}
    error = Delivery.objects.get(status="failed").last_error
    assert "The message has 1,002 bytes, and may have 1,000" in error
    assert "DSN['MAX_MESSAGE_BYTES']" in error
    assert len(MemoryMessenger.outbox) == 2


class Itself(BaseMessenger):
    name = "itself"
    sent: list[str] = []

    def send(self, template, users, trigger_context, signal_kwargs) -> None:
        for user in users:
            template.render(user, trigger_context, signal_kwargs)
            type(self).sent.append(user.username)


def test_so_it_does_for_a_messenger_that_renders_by_itself(send: Any, signals: Any) -> None:
    signals.add(type("Itself1", (Itself,), {"name": "itself", "sent": (sent := [])}))
    found = send(f"text-{LIMIT + 2}", "text-10", messenger="itself")
    assert found == {f"text-{LIMIT + 2}": "failed", "text-10": "retry"}
    assert sent == []
    signals.run(retries=True)
    assert summary() == {f"text-{LIMIT + 2}": "failed", "text-10": "sent"}
    assert sent == ["text-10"]


def test_no_memory_to_render_is_tried_again(send: Any) -> None:
    assert send("memory", "text-10") == {"memory": "retry", "text-10": "sent"}
    assert "MemoryError" in Delivery.objects.get(status="retry").last_error


def test_no_memory_of_a_messenger_is_tried_again(send: Any, signals: Any) -> None:
    class Full(BaseMessenger):
        name = "full"

        def send_messages(self, messages: Any) -> Iterator[Receipt]:
            yield Receipt.sent()
            raise MemoryError

    signals.add(Full)
    assert sorted(send("text-10", "text-12", messenger="full").values()) == ["retry", "sent"]


class Large:
    pass


def test_no_memory_to_read_what_the_signal_said_is_tried_again(
    signals: Any, subscribe: Any, fire: Any, people: Any
) -> None:
    memory = [MemoryError] * 2

    class LargeCodec(BaseCodec):
        name = "large"
        python_type = Large

        def encode(self, value: Any) -> Any:
            return "large"

        def decode(self, data: Any) -> Any:
            if memory:
                raise memory.pop()
            return data

    signals.add(LargeCodec)
    subscribe("a", users=people[:1], backends=[("memory", "plain")])
    fire(value=Large())
    for _ in range(3):
        signals.run(retries=True)
    assert (memory, [row.status for row in Delivery.objects.all()]) == ([], ["sent"])

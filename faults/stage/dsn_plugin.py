"""What the stage registers. ``FAULTS_*`` in the environment of a process makes it fail there."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from django.contrib.auth import get_user_model
from django.dispatch import Signal

from dsn_core import (
    BaseMessageTemplate,
    BaseMessenger,
    BaseReceiverResolver,
    Message,
    Receipt,
    SignalRegistration,
    hookimpl,
)
from faults.stage.provider import of_environment

staged = Signal()
_batches = itertools.count()


def once(name: str) -> bool:
    """Whether the fault ``name`` is to happen now: the first time in all processes that share the environment."""
    folder = os.environ.get("FAULTS_ONCE")
    if folder is None or name not in os.environ.get("FAULTS", "").split(","):
        return False
    try:
        Path(folder, name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def die() -> None:
    """End this process as the kernel would, in the middle of whatever it is at."""
    os.kill(os.getpid(), signal.SIGKILL)


class FileMessenger(BaseMessenger):
    """Gives its messages to the provider. Takes ``FAULTS_SECONDS`` for each."""

    name = "file"
    seconds = float(os.environ.get("FAULTS_SECONDS", "0"))

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        provider, batch = of_environment(), next(_batches)
        for message in messages:
            if self.seconds:
                time.sleep(self.seconds)
            provider.take(message.id, batch)
            if once("die-after-send"):
                die()
            yield Receipt.sent(message=message)


class BatchMessenger(FileMessenger):
    """The same, which takes its time for each batch and not for each message."""

    name = "batch"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        provider, batch = of_environment(), next(_batches)
        time.sleep(self.seconds)
        for message in messages:
            provider.take(message.id, batch)
            yield Receipt.sent(message=message)


class SlowMessenger(BaseMessenger):
    """Takes ``FAULTS_SLOW_SECONDS`` for each message, and sends it nowhere."""

    name = "slow"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        for message in messages:
            time.sleep(float(os.environ.get("FAULTS_SLOW_SECONDS", "30")))
            yield Receipt.sent(message=message)


class ScriptedMessenger(BaseMessenger):
    """Answers with the first line of the file ``FAULTS_SCRIPT`` that is not used up, and with *sent* after the last.

    A line: ``pause 7``, ``retry``, ``unknown``, ``invalid``.
    """

    name = "scripted"

    def send_messages(self, messages: Sequence[Message]) -> Iterator[Receipt]:
        provider = of_environment()
        for message in messages:
            provider.take(message.id, next(_batches))
            yield self._answer(message)

    def _answer(self, message: Message) -> Receipt:
        script = Path(os.environ["FAULTS_SCRIPT"])
        lines = script.read_text().splitlines()
        if not lines:
            return Receipt.sent(message=message)
        script.write_text("\n".join(lines[1:]))
        word, *numbers = lines[0].split()
        answers: dict[str, Callable[[], Receipt]] = {
            "pause": lambda: Receipt.pause(float(numbers[0]), reason="429", message=message),
            "retry": lambda: Receipt.retry(reason="500", message=message),
            "unknown": lambda: Receipt.unknown("timed out", message=message),
            "invalid": lambda: Receipt.invalid_address("blocked", message=message),
        }
        return answers[word]()


class InsistentMessenger(ScriptedMessenger):
    """Tries again what may have been sent."""

    name = "insistent"
    retry_unknown = True


class StagedTemplate(BaseMessageTemplate):
    """Says hello, and fails or dies for whom it is told to."""

    name = "staged"
    text = "Hello {{ user.username }}"

    def get_template_context(self, context):
        name = context["user"].username if context["user"] is not None else ""
        if name == os.environ.get("FAULTS_TEMPLATE_FAILS_FOR"):
            raise ValueError("This template fails for one of them.")
        if name == os.environ.get("FAULTS_TEMPLATE_DIES_FOR") or once("die-before-send"):
            die()
        return context


class EverybodyResolver(BaseReceiverResolver):
    """Every user, one after the other; dies in the middle of them when it is told to."""

    name = "everybody"

    def resolve(self, event, argument):
        # As a list: a cursor that stays open keeps others from writing on SQLite.
        for number, user in enumerate(list(get_user_model().objects.order_by("pk"))):
            if number % 1_000 == 700 and once(f"die-in-fan-out-{number // 1_000}"):
                die()
            yield user


@hookimpl
def dsn_signals():
    return [SignalRegistration("staged", staged)]


@hookimpl
def dsn_messengers():
    return [FileMessenger, BatchMessenger, SlowMessenger, ScriptedMessenger, InsistentMessenger]


@hookimpl
def dsn_message_templates():
    return [StagedTemplate]


@hookimpl
def dsn_receiver_resolvers():
    return [EverybodyResolver]

"""The contract tests of messengers. A plugin's test is one subclass with one fixture."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import pytest

from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.naming import MAX_NAME_LENGTH
from dsn_core.contracts.receipts import Outcome, Receipt
from dsn_core.plugins.kinds import MESSENGERS
from dsn_core.plugins.registry import registry

#: Seconds for which a messenger may answer "later" for one message.
LONGEST_LATER = 60.0
#: Outcomes of messages that were not sent and are not tried again.
REFUSED = frozenset({Outcome.FAILED, Outcome.INVALID_ADDRESS})
#: Texts that often break messengers.
TEXTS = {
    "unicode": "Grüße, Ωmega, 日本語",
    "emoji": "emoji 👩\u200d🚀 and \u0627\u0644",
    "lines": "a line\nand\r\nanother",
    "markup": "<b>& \"quotes\" 'n' all</b>",
    "long": "x" * 3000,
}


class MessengerContract:
    """The tests for every messenger that overrides ``send_messages``. Subclass it, with the messenger as a fixture::

        class TestPager(MessengerContract):
            address = "+15550100"
            bad_address = "not a number"

            @pytest.fixture
            def messenger(self, pager_server):
                return PagerMessenger("pager", PagerOptions(URL=pager_server.url))

    The messenger must be able to send: give it a server that replaces its provider. The tests have a database.
    """

    pytestmark = pytest.mark.django_db

    #: An address that the messenger can send to.
    address: str = "ann@example.org"
    #: An address that it cannot send to; empty when it takes no addresses.
    bad_address: str = "no address at all"

    @pytest.fixture
    def messenger(self) -> BaseMessenger:
        """The messenger to be tested."""
        pytest.fail("A subclass of MessengerContract defines the fixture 'messenger'.")

    def message(self, number: int = 1, **parts: Any) -> Message:
        """A message to :attr:`address`."""
        given = {"subject": f"Subject {number}", "address": self.address, "id": f"contract.{number}", **parts}
        return Message(given.pop("text", f"Text {number}"), **given)

    @classmethod
    def answers(cls, messenger: BaseMessenger, messages: Sequence[Message]) -> list[Receipt]:
        """The receipts for ``messages``, in their order. As in the pipeline, a "later" message is sent again."""
        found = cls._asked(messenger, messages)
        end = time.monotonic() + LONGEST_LATER
        while later := [receipt for receipt in found if receipt.outcome is Outcome.LATER]:
            assert time.monotonic() < end, "what comes later comes at last"
            time.sleep(min(receipt.after or 0.0 for receipt in later))
            waiting = [number for number, receipt in enumerate(found) if receipt.outcome is Outcome.LATER]
            again = cls._asked(messenger, [messages[number] for number in waiting])
            for number, receipt in zip(waiting, again, strict=True):
                found[number] = receipt
        return found

    @staticmethod
    def _asked(messenger: BaseMessenger, messages: Sequence[Message]) -> list[Receipt]:
        receipts = list(messenger.send_messages(messages))
        assert all(isinstance(receipt, Receipt) for receipt in receipts), "send_messages answers with Receipt objects"
        known = {message.id for message in messages}
        names = [receipt.message.id for receipt in receipts if receipt.message is not None]
        assert set(names) <= known, "a receipt is about a message of the batch"
        assert len(names) == len(set(names)), "no message is answered twice"
        assert len(receipts) <= len(messages), "there are no more receipts than messages"
        named = {receipt.message.id: receipt for receipt in receipts if receipt.message is not None}
        unnamed = iter([receipt for receipt in receipts if receipt.message is None])
        found = [named.get(message.id) or next(unnamed, None) for message in messages]
        assert None not in found, "every message is answered"
        return [receipt for receipt in found if receipt is not None]

    def test_class_keeps_the_contract(self, messenger: BaseMessenger) -> None:
        type(messenger).check_contract()
        assert len(messenger.name) <= MAX_NAME_LENGTH
        assert messenger.description, "a docstring, whose first line the lists show"

    def test_is_registered_by_an_installed_plugin(self, messenger: BaseMessenger) -> None:
        assert registry.find(MESSENGERS, messenger.name) is type(messenger)

    def test_options_are_typed_and_cannot_be_changed(self, messenger: BaseMessenger) -> None:
        assert dataclasses.is_dataclass(type(messenger).Options)
        with pytest.raises(dataclasses.FrozenInstanceError):
            messenger.options.TIMEOUT = 1

    def test_is_ready_as_configured(self, messenger: BaseMessenger) -> None:
        assert not messenger.check(messenger.options)

    def test_nothing_to_send_is_no_error(self, messenger: BaseMessenger) -> None:
        assert list(messenger.send_messages([])) == []

    def test_sends_one(self, messenger: BaseMessenger) -> None:
        assert [receipt.outcome for receipt in self.answers(messenger, [self.message()])] == [Outcome.SENT]

    def test_sends_a_batch(self, messenger: BaseMessenger) -> None:
        batch = [self.message(number) for number in range(1, 4)]
        assert [receipt.outcome for receipt in self.answers(messenger, batch)] == [Outcome.SENT] * 3

    def test_can_be_used_again(self, messenger: BaseMessenger) -> None:
        for number in (1, 2):
            assert self.answers(messenger, [self.message(number)])[0].outcome is Outcome.SENT

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    def test_text_of_any_kind_is_answered(self, messenger: BaseMessenger, text: str) -> None:
        receipt = self.answers(messenger, [self.message(text=text)])[0]
        assert receipt.outcome is Outcome.SENT or (receipt.outcome in REFUSED and receipt.reason)

    def test_subject_is_no_way_into_the_headers(self, messenger: BaseMessenger) -> None:
        receipt = self.answers(messenger, [self.message(subject="Hello\r\nBcc: eve@example.org")])[0]
        assert receipt.outcome is Outcome.SENT or receipt.outcome in REFUSED

    def test_html_alone_is_enough(self, messenger: BaseMessenger) -> None:
        message = self.message(text="", html="<p>Only <b>HTML</b></p>")
        assert self.answers(messenger, [message])[0].outcome is Outcome.SENT

    def test_one_bad_address_stops_no_other(self, messenger: BaseMessenger) -> None:
        if not self.bad_address:
            pytest.skip("this messenger takes no addresses")
        batch = [self.message(1), self.message(2, address=self.bad_address), self.message(3)]
        first, second, third = self.answers(messenger, batch)
        assert (first.outcome, third.outcome) == (Outcome.SENT, Outcome.SENT)
        assert second.outcome in REFUSED
        assert second.reason, "a refusal says why"

    def test_secrets_do_not_show(self, messenger: BaseMessenger) -> None:
        shown = repr(messenger.options)
        for field in dataclasses.fields(messenger.options):
            value = getattr(messenger.options, field.name)
            # Only for secrets that are set.
            if field.metadata.get("dsn_secret") and value:
                assert str(value) not in shown

"""What the contract test of messengers refuses."""

from __future__ import annotations

import pytest

from dsn_core import BaseMessenger, Message, Receipt
from dsn_core.contracts.messages import clean_text
from dsn_core.testing import MessengerContract


class Talkative(BaseMessenger):
    """Answers with more receipts than there are messages."""

    name = "talkative"

    def send_messages(self, messages):
        yield from (Receipt.sent(message=message) for message in messages)
        yield self.surplus(messages)


@pytest.mark.parametrize(
    ("surplus", "said"),
    [
        (lambda messages: Receipt.sent(), "no more receipts than messages"),
        (lambda messages: Receipt.sent(message=messages[0]), "no message is answered twice"),
        (lambda messages: Receipt.sent(message=Message("x", id="another")), "about a message of the batch"),
    ],
    ids=["unnamed", "twice", "unknown"],
)
def test_a_surplus_receipt_breaks_the_contract(monkeypatch, surplus, said):
    monkeypatch.setattr(Talkative, "surplus", staticmethod(surplus), raising=False)
    with pytest.raises(AssertionError, match=said):
        MessengerContract.answers(Talkative(), [Message("a", id="1"), Message("b", id="2")])


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("a\0b", "ab"),
        ("half \ud83c", "half \ufffd"),
        ("\ud83c\udfac", "🎬"),
        ("\udfac\ud83c", "\ufffd\ufffd"),
        ("é", "é"),
    ],
)
def test_what_no_encoding_takes_is_replaced_alike_for_all_messengers(text, clean):
    assert clean_text(text) == clean

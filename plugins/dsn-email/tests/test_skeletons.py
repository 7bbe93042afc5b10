"""What is written from a skeleton is what Django writes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest
from django.core.mail import EmailMultiAlternatives
from django.core.mail.backends.smtp import EmailBackend
from hypothesis import given
from hypothesis import settings as with_settings
from hypothesis import strategies as st

from dsn_core import Message, Outcome
from dsn_email import EmailOptions
from dsn_email.messages import MessageFactory, OutgoingMessage
from dsn_email.mime import smtp_bytes
from dsn_email.skeletons import Skeletons

SENDERS = ["cinema@example.org", "Cinema <cinema@example.org>", '"Foo, Inc." <a@b.example>', "Käse <k@bücher.example>"]
ADDRESSES = ["ann@example.org", "bob.o'neill+news@mail.example.co.uk", "ann@bücher.example", '"a.b"@example.org',
             "x" * 60 + "@" + "y" * 50 + ".example"]  # fmt: skip
#: Words that a folder, a parser of headers or an encoder of bodies may treat in a way of its own.
WORDS = ["Solaris", "ist", "da", "Übergröße", "🎬", "=?utf-8?q?x?=", "=3D", ".", "..", "From", "a,b;c:d", '"q"', "(c)",
         "<b>", "x" * 80, "y" * 1_000, "ü" * 600, "\t", "  ", "\n", "\r\n", "\r", "\n.\n", "\x0b", "\u2028", "\x85",
         "--", "\x01", "https://example.org/a?b=c&d=" + "e" * 70]  # fmt: skip

texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=30), min_size=1, max_size=25).map(" ".join)
subjects = st.lists(st.sampled_from(WORDS) | st.text(max_size=20), max_size=8).map(" ".join)
#: Header values as the messenger lets them through: one line.
values = (st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Zl", "Zp", "Cs")), max_size=120)).filter(
    lambda text: not re.search("[\x1c-\x1e\x85]", text)
)
headers = st.dictionaries(
    st.sampled_from(["X-Kind", "References", "List-Id", "X-Long-Name-Of-A-Header", "Precedence", "Sender"]),
    values,
    max_size=3,
)


@st.composite
def batches(draw: st.DrawFn) -> tuple[EmailOptions, list[Message]]:
    options = {
        "FROM": draw(st.sampled_from(SENDERS)),
        "REPLY_TO": draw(st.lists(st.sampled_from(SENDERS), max_size=2)),
        "HEADERS": draw(headers),
    }
    messages = [
        Message(
            draw(texts),
            subject=draw(subjects),
            html=draw(texts | st.just("")),
            id=draw(st.sampled_from(["7", "0f3c.12", "x" * 64, "no id"])),
            address=draw(st.sampled_from(ADDRESSES)),
            extra={"email": {"headers": own}} if (own := draw(headers)) else {},
        )
        for _ in range(draw(st.integers(1, 3)))
    ]
    return EmailOptions.from_mapping(options), messages  # type: ignore[return-value]


def django_s_own(message: OutgoingMessage) -> bytes:
    """What Django's SMTP backend hands over for a message that was made without a line of ours."""
    email = EmailMultiAlternatives(
        message.subject,
        message.text,
        str(message.sender),
        [message.address],
        reply_to=message.reply_to,
        headers={**message.shared_headers, **message.own_headers, "Message-ID": f"<{message.message_id}>"},
    )
    if message.html:
        email.attach_alternative(message.html, "text/html")
    return smtp_bytes(email)[0]


def comparable(written: bytes) -> bytes:
    """Without what differs from message to message: the date and the boundary."""
    head, separator, body = written.partition(b"\r\n\r\n")
    head = re.sub(rb"(?m)^Date: .*$", b"Date: then", head)
    if found := re.search(rb'boundary="([^"]+)"', head):
        head, body = (part.replace(found[1], b"same") for part in (head, body))
    return head + separator + body


@with_settings(max_examples=150, deadline=None)
@given(batches())
def test_batches_of_every_kind_are_written_as_django_writes_them(batch: tuple[EmailOptions, Sequence[Message]]) -> None:
    options, messages = batch
    factory, skeletons = MessageFactory(options), Skeletons()
    for message in map(factory.make, messages):
        try:
            theirs = django_s_own(message)
        except ValueError:
            # What Django refuses is refused.
            with pytest.raises(ValueError):  # noqa: PT011 - each version says it in words of its own
                skeletons.write(message) or smtp_bytes(message.email)
            continue
        ours = skeletons.write(message)
        is_foreign = not message.own_headers.get("Sender", "").isascii()
        assert (ours is None) is (message.address.startswith('"') or not message.text or is_foreign)
        assert comparable(ours or smtp_bytes(message.email)[0]) == comparable(theirs)


def test_a_sender_with_a_domain_that_is_not_ascii_is_left_to_django() -> None:
    extra = {"email": {"headers": {"Sender": "Käse <k@bücher.example>"}}}
    message = MessageFactory(EmailOptions.from_mapping({"FROM": SENDERS[0]})).make(
        Message("Hello", id="7", address="ann@example.org", extra=extra)
    )
    assert Skeletons().write(message) is None
    assert comparable(smtp_bytes(message.email)[0]) == comparable(django_s_own(message))


class OwnBackend(EmailBackend):
    """As a project has one: it does more with an e-mail before it is sent."""

    def send_messages(self, email_messages: Any) -> Any:
        for item in email_messages:
            item.extra_headers["X-Seen"] = item.subject
        return super().send_messages(email_messages)


def test_a_backend_made_from_django_s_gets_each_e_mail(
    server: Any, use_backend: Any, send: Any, message_to: Any
) -> None:
    use_backend(f"{__name__}.OwnBackend", host="127.0.0.1", port=server.port)
    receipts = send(message_to("ann", subject="one"), message_to("bob", subject="two"))
    assert [receipt.outcome for receipt in receipts] == [Outcome.SENT] * 2
    assert [mail["X-Seen"] for mail in server.mails] == ["one", "two"]


def test_django_makes_one_message_of_each_kind(
    server: Any, use_smtp: Any, send: Any, message_to: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_smtp(server.port)
    made: list[str] = []
    its_own = EmailMultiAlternatives.message

    def counted(self: Any, **given: Any) -> Any:
        made.append(self.subject)
        return its_own(self, **given)

    monkeypatch.setattr(EmailMultiAlternatives, "message", counted)
    own = {"email": {"headers": {"List-Unsubscribe": "<https://example.org/out/1>"}}}
    messages = [
        message_to(f"user{number}{kind}", subject=f"s{number}", **parts)
        for kind, parts in (("a", {}), ("b", {"html": "<p>Out</p>"}), ("c", {"extra": own}))
        for number in range(10)
    ]
    assert {receipt.outcome for receipt in send(*messages)} == {Outcome.SENT}
    assert len(made) == 3
    assert [mail["Subject"] for mail in server.mails] == [f"s{number}" for number in range(10)] * 3


def test_messages_with_and_without_a_skeleton_arrive_in_one_batch(
    server: Any, use_smtp: Any, send: Any, message_to: Any
) -> None:
    use_smtp(server.port)
    dots = ".\n..\n.hidden\nFrom here\n" + "long " * 400
    messages = [
        message_to("ann", text=dots),
        message_to("bob", text=dots, html=f"<p>{dots}</p>"),
        message_to("cyd", extra={"email": {"attachments": [("a.txt", "text")]}}),
        message_to("dan", extra={"email": {"reply_to": "desk@example.org"}}),
        message_to('"e.ve"@example.org'),
    ]
    assert {receipt.outcome for receipt in send(*messages)} == {Outcome.SENT}
    assert server.connections == 1
    ann, bob, cyd, dan, eve = server.mails
    assert ann.get_content().splitlines() == bob.get_body(("plain",)).get_content().splitlines() == dots.splitlines()
    assert bob.get_body(("html",)).get_content().splitlines() == f"<p>{dots}</p>".splitlines()
    assert [part.get_filename() for part in cyd.iter_attachments()] == ["a.txt"]
    assert dan["Reply-To"] == "desk@example.org"
    assert eve["To"].addresses[0].domain == "example.org"
    # The sender's name is for readers, the address for servers.
    assert {mail["From"] for mail in server.mails} == {"cinema@example.org"}


def test_text_that_django_cannot_encode_fails_alone(server: Any, use_smtp: Any, send: Any, message_to: Any) -> None:
    use_smtp(server.port)
    bad = message_to("ann")
    # Message itself replaces it; this is one that was changed afterwards.
    bad.html = "<p>\ud800</p>"
    receipts = send(bad, message_to("bob"))
    assert [receipt.outcome for receipt in receipts] == [Outcome.FAILED, Outcome.SENT]
    assert server.receivers == ["bob@example.org"]


def test_another_charset_of_the_project_is_left_to_django(
    server: Any, use_smtp: Any, send: Any, message_to: Any, settings: Any
) -> None:
    settings.DEFAULT_CHARSET = "iso-8859-1"
    use_smtp(server.port)
    (receipt,) = send(message_to("ann", text="Grüße"))
    assert receipt.outcome is Outcome.SENT
    assert server.mails[0].get_content_charset() == "iso-8859-1"
    assert server.mails[0].get_content().strip() == "Grüße"

"""What is written from a skeleton is what Django writes."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from django.core.mail import EmailMultiAlternatives
from hypothesis import given, settings
from hypothesis import strategies as st

from dsn_core import Message
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


@settings(max_examples=500, deadline=None)
@given(batches())
def test_five_hundred_batches_are_written_as_django_writes_them(batch: tuple[EmailOptions, Sequence[Message]]) -> None:
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
        assert (ours is None) is (message.address.startswith('"') or not message.text)
        assert comparable(ours or smtp_bytes(message.email)[0]) == comparable(theirs)

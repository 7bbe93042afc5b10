"""What arrives at the Bot API."""

from __future__ import annotations

from typing import Any

import pytest

from dsn_core import Outcome, store_address

PNG = b"\x89PNG\r\n\x1a\n" + b"x" * 100


def outcomes(receipts: list[Any]) -> list[Outcome]:
    return [receipt.outcome for receipt in receipts]


def test_a_message_arrives_with_its_subject_and_its_form(api: Any, send: Any, to: Any) -> None:
    (receipt,) = send(to("42", "", subject="Solaris & co", html="<p>It <b>can</b> be seen: 1 &lt; 2</p>"))
    (call,) = api.calls
    assert (call["chat_id"], call["parse_mode"]) == ("42", "HTML")
    assert call["text"] == "<b>Solaris &amp; co</b>\n\nIt <b>can</b> be seen: 1 &lt; 2"
    assert receipt.outcome is Outcome.SENT
    assert receipt.provider_id == str(call["message_id"])


def test_a_plain_text_is_sent_as_it_is(api: Any, send: Any, to: Any) -> None:
    send(to(text="1 < 2 & <b>no tag</b>"))
    (call,) = api.calls
    assert call["text"] == "1 < 2 & <b>no tag</b>"
    assert "parse_mode" not in call


def test_what_the_template_says_to_telegram_goes_along(api: Any, send: Any, to: Any) -> None:
    extra = {
        "silent": True,
        "protect_content": True,
        "message_thread_id": 7,
        "link_preview": False,
        "buttons": [("Tickets", "https://x.example/"), {"text": "More", "callback_data": "m"}],
    }
    send(to(extra={"telegram": extra}))
    (call,) = api.calls
    assert call["disable_notification"] is True
    assert call["protect_content"] is True
    assert call["message_thread_id"] == 7
    assert call["link_preview_options"] == {"is_disabled": True}
    assert call["reply_markup"] == {
        "inline_keyboard": [[{"text": "Tickets", "url": "https://x.example/"}, {"text": "More", "callback_data": "m"}]]
    }


@pytest.mark.parametrize(
    ("extra", "said"),
    [
        ({"botons": []}, "did you mean 'buttons'"),
        ({"silent": "yes"}, "must be True or False"),
        ({"buttons": "x"}, "must be a list of buttons"),
        ({"buttons": [["x"]]}, "a button is"),
        ({"link_preview": 3}, "must be True, False or a dict"),
        ({"message_thread_id": "7"}, "must be a topic's number"),
        ({"attachments": [("a.png",)]}, "(name, content)"),
        ({"attachments": [("a\r\nb.png", b"x")]}, "no name for an attachment"),
        ({"attachments": [("a.png", b"")]}, "has 0 bytes"),
        ("silent", "must be a dict"),
    ],
)
def test_what_it_cannot_say_fails_without_a_call(api: Any, send: Any, to: Any, extra: Any, said: str) -> None:
    bad, good = send(to("1", extra={"telegram": extra}), to("2"))
    assert (bad.outcome, good.outcome) == (Outcome.FAILED, Outcome.SENT)
    assert said in bad.reason
    assert [call["chat_id"] for call in api.calls] == ["2"]


def test_attachments_are_photos_or_documents_the_first_with_the_text(api: Any, send: Any, to: Any) -> None:
    files = [("poster.png", PNG), ("plan.pdf", b"%PDF"), ("notes.txt", "words", "text/x-notes")]
    extra = {"telegram": {"attachments": files, "buttons": [("Go", "https://x.example/")], "silent": True}}
    message = to("1", "", html="<b>See</b>", extra=extra)
    send(message)
    # The rest follows after the chat's interval.
    first, second, third = api.calls
    assert first["photo"] == {"name": "poster.png", "type": "image/png", "bytes": len(PNG)}
    assert (first["caption"], first["parse_mode"]) == ("<b>See</b>", "HTML")
    assert "Go" in first["reply_markup"]
    assert second["document"] == {"name": "plan.pdf", "type": "application/pdf", "bytes": 4}
    assert third["document"] == {"name": "notes.txt", "type": "text/x-notes", "bytes": 5}
    assert second["disable_notification"] == "true"
    assert "caption" not in second
    assert "reply_markup" not in third


def test_a_long_text_goes_before_what_is_attached(api: Any, send: Any, to: Any) -> None:
    send(to("1", "x" * 1025, extra={"telegram": {"attachments": [("a.png", PNG)]}}))
    text, photo = api.calls
    assert len(text["text"]) == 1025
    assert "caption" not in photo


def test_a_long_message_is_cut_and_follows_in_the_chats_interval(api: Any, send: Any, to: Any) -> None:
    api.do("set", limits=True)
    html = "<b>" + "<p>" + "word " * 700 + "</p>" + "<p>👩\u200d🚀" + "word " * 600 + "</p></b>"
    (receipt,) = send(to("1", "", html=html))
    first, second = api.calls
    assert first["text"].startswith("<b>word")
    assert second["text"].startswith("<b>👩\u200d🚀word")
    assert first["text"].endswith("word</b>")
    assert second["at"] - first["at"] >= 0.9
    assert receipt.provider_id == str(first["message_id"])
    assert api.do("refused") == {}


def test_a_message_that_is_far_too_long_or_empty_fails(api: Any, send: Any, to: Any) -> None:
    long, empty = send(to("1", "x" * 50_000), to("2", " "))
    assert "13 messages of Telegram" in long.reason
    assert "no text" in empty.reason
    assert outcomes([long, empty]) == [Outcome.FAILED] * 2
    assert api.calls == []


def test_markup_that_is_refused_is_sent_once_more_as_plain_text(api: Any, send: Any, to: Any) -> None:
    api.refuse(400, "Bad Request: can't parse entities: Unsupported start tag", chat="1")
    (receipt,) = send(to("1", "", html="<b>a</b> &amp; b"))
    (call,) = api.calls
    assert receipt.outcome is Outcome.SENT
    assert call["text"] == "a & b"
    assert "parse_mode" not in call
    # Once: what is refused as plain text, too, fails.
    for _ in range(2):
        api.refuse(400, "Bad Request: can't parse entities", chat="2")
    assert send(to("2", "", html="<b>a</b>"))[0].outcome is Outcome.FAILED


@pytest.mark.parametrize("address", ["", "ann", "@x", "12 34", "1\n2", "0", "--5", "1" * 21, "https://t.me/ann"])
def test_what_is_no_chat_is_refused_without_a_call(api: Any, send: Any, to: Any, address: str) -> None:
    (receipt,) = send(to(address))
    assert receipt.outcome is Outcome.INVALID_ADDRESS
    assert api.calls == []


def test_groups_and_channels_are_chats(api: Any, send: Any, to: Any) -> None:
    assert outcomes(send(to("-1001234567890"), to("@cinema_news"), to(" 42 "))) == [Outcome.SENT] * 3
    assert {call["chat_id"] for call in api.calls} == {"-1001234567890", "@cinema_news", "42"}


def test_a_group_that_moved_gets_the_message_and_its_users_the_new_address(
    api: Any, send: Any, to: Any, ann: Any, bob: Any, address_of: Any
) -> None:
    for user in (ann, bob):
        store_address(user, "telegram", "-100")
    api.do("set", moved={"-100": "-1001"})
    (receipt,) = send(to("-100", user=ann))
    assert receipt.outcome is Outcome.SENT
    assert [call["chat_id"] for call in api.calls] == ["-1001"]
    assert [address_of(user) for user in (ann, bob)] == ["-1001", "-1001"]


def test_a_bare_address_that_moved_leads_to_the_new_chat_from_then_on(api: Any, send: Any, to: Any) -> None:
    from dsn_telegram.models import Chat

    api.do("set", moved={"-100": "-1001"})
    send(to("-100"))
    api.do("set", moved={"-1001": "-1002"})
    Chat.objects.update(free_at=0)
    send(to("-100"))
    Chat.objects.update(free_at=0)
    # No answer says it any more; what is known is enough.
    api.do("set", moved={}, missing=["-100", "-1001"])
    assert outcomes(send(to("-100"))) == [Outcome.SENT]
    assert [call["chat_id"] for call in api.calls] == ["-1001", "-1002", "-1002"]


# The chats' pace


def test_a_chat_gets_one_message_at_a_time_and_the_others_come_later(api: Any, send: Any, to: Any) -> None:
    first, second, third, other = send(to("1"), to("1"), to("1"), to("2"))
    assert outcomes([first, other]) == [Outcome.SENT] * 2
    assert outcomes([second, third]) == [Outcome.LATER] * 2
    assert (second.after, third.after) == (1.0, 2.0)
    assert sorted(call["chat_id"] for call in api.calls) == ["1", "2"]


def test_the_pace_holds_from_batch_to_batch_and_a_group_s_is_slower(api: Any, send: Any, to: Any) -> None:
    send(to("1"), to("-1"))
    person, group = send(to("1"), to("-1"))
    assert outcomes([person, group]) == [Outcome.LATER] * 2
    assert 0 < person.after <= 1
    assert 2 < group.after <= 3


def test_the_turns_of_a_batch_cost_no_query_per_chat(api: Any, send: Any, to: Any) -> None:
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost(count: int, start: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            send(*(to(str(start + number)) for number in range(count)))
        return len(queries)

    assert cost(2, 100) == cost(40, 1_000)


def test_a_batch_is_sent_at_the_same_time(api: Any, telegram: Any, to: Any, db: None) -> None:
    """Were it one after another, the first answer would come first."""
    from dsn_telegram import TelegramMessenger, TelegramOptions

    api.script({"delay": 1.0, "status": 200, "body": {"ok": True, "result": {"message_id": 1}}}, chat="1")
    messenger = TelegramMessenger("telegram", TelegramOptions(**telegram))
    answered = [receipt.message.address for receipt in messenger.send_messages([to("1"), to("2"), to("3")])]
    assert answered[-1] == "1"
    assert sorted(answered) == ["1", "2", "3"]


def test_who_stops_it_hears_of_all_that_is_under_way_and_nothing_else_is_sent(
    api: Any, telegram: Any, to: Any, db: None
) -> None:
    from dsn_telegram import TelegramMessenger, TelegramOptions

    api.do("set", delay=0.2)
    messenger = TelegramMessenger("telegram", TelegramOptions(**telegram))
    receipts = messenger.send_messages([to(str(number)) for number in range(1, 101)])
    answered = [next(receipts)]
    messenger.stop()
    answered += receipts
    assert outcomes(answered) == [Outcome.SENT] * len(answered)
    assert len(answered) <= TelegramOptions.CONNECTIONS
    assert sorted(call["chat_id"] for call in api.calls) == sorted(receipt.message.address for receipt in answered)


# Files that are refused


def with_file(to: Any, name: str = "tall.png", **parts: Any) -> Any:
    buttons = [("Tickets", "https://x.example/")]
    return to(
        "1", "", html="<b>See</b>", extra={"telegram": {"attachments": [(name, PNG)], "buttons": buttons}}, **parts
    )


@pytest.mark.parametrize(
    "words",
    [
        "Bad Request: PHOTO_INVALID_DIMENSIONS",
        "Bad Request: IMAGE_PROCESS_FAILED",
        "Bad Request: PHOTO_EXT_INVALID",
        "Bad Request: PHOTO_SAVE_FILE_INVALID",
        "Bad Request: not enough rights to send photos to the chat",
    ],
)
def test_a_photo_that_is_refused_goes_once_more_as_a_document(api: Any, send: Any, to: Any, words: str) -> None:
    api.refuse(400, words, chat="sendphoto")
    (receipt,) = send(with_file(to))
    (call,) = api.calls
    assert call["document"]["name"] == "tall.png"
    assert (call["caption"], call["parse_mode"]) == ("<b>See</b>", "HTML")
    assert "Tickets" in call["reply_markup"]
    assert (receipt.outcome, receipt.provider_id) == (Outcome.SENT, str(call["message_id"]))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "Bad Request: DOCUMENT_INVALID"),
        (413, "Request Entity Too Large"),
        (400, "Bad Request: not enough rights to send documents to the chat"),
        (400, "Bad Request: CHAT_SEND_DOCS_FORBIDDEN"),
    ],
)
def test_the_text_is_not_lost_with_its_file(api: Any, send: Any, to: Any, status: int, words: str) -> None:
    api.refuse(400, "Bad Request: PHOTO_INVALID_DIMENSIONS", chat="sendphoto")
    api.refuse(status, words, chat="senddocument")
    (receipt,) = send(with_file(to))
    (call,) = api.calls
    assert (call["text"], call["parse_mode"]) == ("<b>See</b>", "HTML")
    assert call["reply_markup"]["inline_keyboard"][0][0]["text"] == "Tickets"
    # Not called sent: a part of it is missing.
    assert receipt.outcome is Outcome.FAILED
    assert "The text was sent, and its attachment was refused" in receipt.reason
    assert words in receipt.reason


def test_a_chat_that_cannot_be_written_to_is_not_asked_again_without_the_file(api: Any, send: Any, to: Any) -> None:
    api.do("set", missing=["1"])
    (receipt,) = send(with_file(to))
    assert receipt.outcome is Outcome.INVALID_ADDRESS
    assert api.calls == []


def test_a_message_that_is_too_large_for_a_gateway_is_not_the_bots_fault(api: Any, send: Any, to: Any) -> None:
    api.script({"status": 413, "body": "<html>413</html>"}, chat="1")
    large, other = send(to("1"), to("2"))
    assert outcomes([large, other]) == [Outcome.FAILED, Outcome.SENT]

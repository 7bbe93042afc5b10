"""Makes calls of the Bot API out of messages. Touches no network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from dsn_core import Message
from dsn_telegram import extra, markup
from dsn_telegram.addresses import chat_of, interval_of
from dsn_telegram.extra import Attachment, Unsendable
from dsn_telegram.markup import Run
from dsn_telegram.splitting import CAPTION_UNITS, MESSAGE_UNITS, pieces, units

#: Calls that one message may become. A longer one is a mistake, and would hold up its chat for a minute.
MAX_CALLS: Final = 10


@dataclass(frozen=True)
class Call:
    """One call: a method, its parameters without the chat, and what stands in for marked-up text.

    ``plain`` has the parameters that are other than in ``params`` when the Bot API cannot parse the markup;
    empty where there is none.
    """

    method: str
    params: Mapping[str, Any]
    plain: Mapping[str, Any] = field(default_factory=dict)
    attachment: Attachment | None = None
    #: The call that says the caption alone, where the attachment is refused; None where there is no caption.
    alone: Call | None = None


@dataclass
class Outgoing:
    """A message, its chat, and the calls that send it, of which ``done`` are through."""

    message: Message
    chat: str
    calls: Sequence[Call]
    done: int = 0
    #: Whether an earlier attempt is where ``done`` comes from.
    resumed: bool = False

    @property
    def interval(self) -> float:
        """Seconds between two calls."""
        return interval_of(self.chat)


def prepare(message: Message) -> Outgoing:
    """The calls for ``message``.

    Raises :class:`~dsn_core.exceptions.InvalidAddress` for its address and
    :class:`~dsn_telegram.extra.Unsendable` for anything else that cannot be sent.
    """
    chat = chat_of(message.address)
    said = extra.read(message)
    runs = markup.runs_of(subject=message.subject, text="" if message.html else message.text, html=message.html)
    calls = list(_calls(runs, said))
    if not calls:
        raise Unsendable("The message has no text, and Telegram sends no empty ones.")
    if len(calls) > MAX_CALLS:
        raise Unsendable(
            f"The message would be {len(calls)} messages of Telegram ({units(markup.plain(runs))} signs and "
            f"{len(said.attachments)} attachments); {MAX_CALLS} are the most. Shorten the message template."
        )
    return Outgoing(message, chat, calls)


def _calls(runs: list[Run], said: extra.Extra) -> Sequence[Call]:
    """Text first, then what is attached; a text that fits goes with the first attachment, as its caption."""
    text = markup.plain(runs)
    attachments = list(said.attachments)
    captioned = bool(attachments) and units(text) <= CAPTION_UNITS
    parts = list(markup.slices(runs, pieces(text, CAPTION_UNITS if captioned else MESSAGE_UNITS)))
    calls = []
    if captioned:
        calls.append(_file(attachments.pop(0), said, parts[0] if parts else []))
    else:
        calls += [_text(said, part) for part in parts]
    # The buttons stand below the last of the text.
    if calls and said.buttons:
        calls[-1] = _with(calls[-1], said.buttons)
    return calls + [_file(attachment, said, []) for attachment in attachments]


def _with(call: Call, more: Mapping[str, Any]) -> Call:
    alone = None if call.alone is None else _with(call.alone, more)
    return replace(call, params={**call.params, **more}, alone=alone)


def _text(said: extra.Extra, part: list[Run]) -> Call:
    return Call("sendMessage", {**said.params, **said.preview, **_marked("text", part)}, _plain("text", part))


def _file(attachment: Attachment, said: extra.Extra, caption: list[Run]) -> Call:
    params = {**said.params, **(_marked("caption", caption) if caption else {})}
    plain = _plain("caption", caption) if caption else {}
    alone = _text(said, caption) if caption else None
    return Call("sendPhoto" if attachment.is_photo else "sendDocument", params, plain, attachment, alone)


def _marked(name: str, runs: list[Run]) -> dict[str, str]:
    if not any(run.tags for run in runs):
        # Nothing to parse, nothing to refuse.
        return {name: markup.plain(runs)}
    return {name: markup.to_html(runs), "parse_mode": "HTML"}


def _plain(name: str, runs: list[Run]) -> dict[str, Any]:
    return {name: markup.plain(runs), "parse_mode": None} if any(run.tags for run in runs) else {}

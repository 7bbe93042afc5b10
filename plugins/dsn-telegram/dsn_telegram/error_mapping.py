"""Maps answers of the Bot API, and their absence, to receipts."""

from __future__ import annotations

from typing import Final

from dsn_core import Receipt
from dsn_core.exceptions import BadSettings, NoAnswer, ProviderError
from dsn_core.kit import CONFIGURATION_PAUSE
from dsn_telegram.bot import Answer

#: Seconds it rests when it is told "too many requests" and not for how long.
THROTTLE_PAUSE: Final = 30.0

#: What the Bot API says of a chat that cannot be written to, with 400. Every 403 is one, too.
_NO_CHAT: Final = (
    "chat not found",
    "user not found",
    "peer_id_invalid",
    "chat_id_invalid",
    "chat_id is empty",
    "user_is_blocked",
    "input_user_deactivated",
    "group chat was deactivated",
    "group is deactivated",
    "bot was kicked",
    "bot is not a member",
    "have no rights to send a message",
    "chat_write_forbidden",
    "chat_restricted",
    "need administrator rights in the channel chat",
    "not enough rights to send",
    "channel_private",
)
#: Of markup that it cannot read.
_NO_MARKUP: Final = ("can't parse entities", "can't parse caption entities", "can't parse message caption")
#: Of a photo that it does not take as one: its dimensions, its kind, or the chat's rule about photos.
_NO_PHOTO: Final = (
    "photo_",
    "image_process_failed",
    "media_invalid",
    "too big for a photo",
    "file must be an image",
    "can't use file of type",
    "type of file mismatch",
    "wrong type of the web page content",
    "send photos",
    "send_photos",
    "send_media_forbidden",
)
#: Of a file that this chat does not take, though it takes texts.
_NO_FILE: Final = ("send photos", "send documents", "send media", "send_photos", "send_docs", "send_media_forbidden")


def is_photo_refused(answer: Answer) -> bool:
    """Whether the same file may do as a document."""
    return answer.status == 400 and any(words in answer.description.lower() for words in _NO_PHOTO)


def is_file_refused(answer: Answer) -> bool:
    """Whether the text may do without its file. Not where it is the chat that cannot be written to."""
    if answer.status == 413:
        return True
    said = answer.description.lower()
    return answer.status == 400 and (any(words in said for words in _NO_FILE) or not _is_address(said))


def is_markup_refused(answer: Answer) -> bool:
    """Whether the same as plain text may do."""
    return answer.status == 400 and any(words in answer.description.lower() for words in _NO_MARKUP)


def of_answer(answer: Answer) -> Receipt:
    """The receipt for a message whose (last) call was answered so."""
    if answer.ok and answer.status < 300:
        return Receipt.sent(_message_id(answer.result))
    said = f"{answer.status}: {answer.description or 'no words of the Bot API'}"
    if answer.status == 429:
        wait = THROTTLE_PAUSE if answer.retry_after is None else answer.retry_after
        return Receipt.pause(wait, reason=f"The Bot API asks for a pause ({said}).")
    if not answer.is_its_own:
        return _of_a_gateway(answer.status)
    if answer.status == 403:
        return Receipt.invalid_address(said)
    if answer.status in (401, 404):
        return Receipt.pause(
            CONFIGURATION_PAUSE, reason=f"The Bot API refuses the token ({said}): see the option BOT_TOKEN."
        )
    if answer.status >= 500:
        # It says itself that it failed: the message was not sent.
        return Receipt.retry(answer.retry_after, reason=said)
    if answer.status == 400 and _is_address(answer.description.lower()):
        return Receipt.invalid_address(said)
    return Receipt.failed(said)


def _is_address(said: str) -> bool:
    return any(words in said for words in _NO_CHAT) and not any(words in said for words in _NO_FILE)


def of_no_answer(error: ProviderError) -> Receipt:
    """The receipt for a message whose call was not answered."""
    if isinstance(error, BadSettings):
        return Receipt.pause(CONFIGURATION_PAUSE, reason=str(error))
    return Receipt.unknown(str(error)) if isinstance(error, NoAnswer) else Receipt.retry(reason=str(error))


def _of_a_gateway(status: int) -> Receipt:
    """The receipt for an answer that is not the Bot API's own: of a gateway before it, or of a wrong address."""
    said = f"HTTP {status} in no words of the Bot API"
    if status < 300 or status in (502, 504):
        # Something behind it may have taken the message; only the answer was lost.
        return Receipt.unknown(f"{said}: it may have been taken.")
    if status >= 500 or status in (408, 425):
        return Receipt.retry(reason=said)
    if status in (413, 414, 431):
        # This message is too large for what stands before it; others are not.
        return Receipt.failed(f"{said}: the message is too large.")
    return Receipt.pause(
        CONFIGURATION_PAUSE, reason=f"{said}: see the option API_BASE, and the proxies of the environment."
    )


def _message_id(result: object) -> str:
    return str(result.get("message_id", "")) if isinstance(result, dict) else ""

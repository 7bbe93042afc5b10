"""Sends the messages of one batch to the Bot API, several at the same time."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from dsn_core import Outcome, Receipt
from dsn_core.exceptions import ProviderError
from dsn_core.kit import describe, in_parallel
from dsn_telegram import error_mapping
from dsn_telegram.bot import Answer, Bot
from dsn_telegram.calls import Call, Outgoing
from dsn_telegram.options import TelegramOptions

logger = logging.getLogger("dsn_telegram")


@dataclass(frozen=True)
class Result:
    """How far a message came. ``moved_from``: what its chat was called until it became a supergroup, if it did."""

    outgoing: Outgoing
    receipt: Receipt
    moved_from: str = ""


class Transport:
    """Sends messages. Touches no database: its threads have no connection to one."""

    def __init__(self, bot: Bot, options: TelegramOptions) -> None:
        self._bot = bot
        self._options = options
        self._stopping = threading.Event()

    def stop(self) -> None:
        """Begin no further call. What is under way is answered for; safe in any thread."""
        self._stopping.set()

    def send(self, messages: Iterable[Outgoing]) -> Iterator[Result]:
        """Yield what became of each message, in the order in which it turned out.

        After a pause no further message is begun: the pause speaks for those that are missing.
        """

        def go_on() -> bool:
            return not self._stopping.is_set()

        try:
            for outgoing, future in in_parallel(self._send, messages, self._options.CONNECTIONS, go_on=go_on):
                try:
                    result = future.result()
                except Exception as error:
                    # A mistake of ours: the others of the batch go on.
                    reason = self._options.mask(describe(error))
                    logger.error("A message could not be sent. %s", reason, exc_info=self._options.exc_info(error))
                    result = Result(outgoing, Receipt.retry(reason=reason, message=outgoing.message))
                if result.receipt.outcome is Outcome.PAUSE:
                    self.stop()
                yield result
        finally:
            # What is under way ends between two calls, and not after its last.
            self.stop()

    def _send(self, outgoing: Outgoing) -> Result:
        """Make the calls of one message, from where it stopped, with the chat's interval in between."""
        start, moved_from, provider_id = outgoing.done, "", ""
        receipt = Receipt.sent()
        for number, call in enumerate(outgoing.calls[start:], start):
            if number > start and self._stopping.wait(outgoing.interval):
                receipt = Receipt.later(outgoing.interval, reason="The rest of the message is to follow.")
                break
            try:
                answer = self._called(outgoing.chat, call)
                if answer.migrate_to_chat_id and not moved_from:
                    moved_from, outgoing.chat = outgoing.chat, answer.migrate_to_chat_id
                    answer = self._called(outgoing.chat, call)
                receipt = error_mapping.of_answer(answer)
                if call.alone and error_mapping.is_file_refused(answer):
                    receipt = self._without_file(outgoing.chat, call.alone, receipt)
            except ProviderError as error:
                receipt = error_mapping.of_no_answer(error)
            if receipt.outcome is not Outcome.SENT:
                if number:
                    receipt = replace(receipt, reason=f"Part {number + 1} of {len(outgoing.calls)}: {receipt.reason}")
                break
            outgoing.done = number + 1
            # Of several, the first: that is where the message begins in the chat.
            provider_id = provider_id or receipt.provider_id
        if receipt.outcome is Outcome.SENT:
            receipt = replace(receipt, provider_id=provider_id)
        return Result(outgoing, replace(receipt, message=outgoing.message), moved_from)

    def _without_file(self, chat: str, alone: Call, refusal: Receipt) -> Receipt:
        """Send the text without the file that was refused. The message failed all the same; its receipt says why."""
        receipt = error_mapping.of_answer(self._called(chat, alone))
        if receipt.outcome is not Outcome.SENT:
            return receipt
        return Receipt.failed(f"The text was sent, and its attachment was refused: {refusal.reason}")

    def _called(self, chat: str, call: Call) -> Answer:
        """Make a call; what is refused for its form is called once more in a plainer one."""
        answer = self._called_once(chat, call)
        if call.method == "sendPhoto" and error_mapping.is_photo_refused(answer):
            answer = self._called_once(chat, replace(call, method="sendDocument"))
        return answer

    def _called_once(self, chat: str, call: Call) -> Answer:
        params = {"chat_id": chat, **call.params}
        answer = self._bot.call(call.method, params, attachment=call.attachment)
        if call.plain and error_mapping.is_markup_refused(answer):
            answer = self._bot.call(call.method, {**params, **call.plain}, attachment=call.attachment)
        return answer

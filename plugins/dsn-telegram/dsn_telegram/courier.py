"""Takes the letters of one batch to the Bot API, many at a time."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from queue import SimpleQueue

from dsn_core import Outcome, Receipt
from dsn_telegram import verdicts
from dsn_telegram.bot import CONNECTIONS, Answer, Bot, NoAnswer
from dsn_telegram.letters import Call, Letter
from dsn_telegram.options import TelegramOptions

logger = logging.getLogger("dsn_telegram")


@dataclass(frozen=True)
class Delivered:
    """How far a letter came. ``moved_from``: what its chat was called until it became a supergroup, if it did."""

    letter: Letter
    receipt: Receipt
    moved_from: str = ""


class Courier:
    """Delivers letters. Touches no database: its threads have no connection to one."""

    def __init__(self, bot: Bot, options: TelegramOptions) -> None:
        self._bot = bot
        self._options = options
        self._stopping = threading.Event()
        self._done: SimpleQueue[Delivered] = SimpleQueue()

    def stop(self) -> None:
        """Begin no further call. What is under way is answered for; safe in any thread."""
        self._stopping.set()

    def deliver(self, letters: Iterable[Letter]) -> Iterator[Delivered]:
        """Yield what became of each letter, in the order in which it turned out.

        After a pause no further letter is begun: the pause speaks for those that are missing.
        """
        waiting = deque(letters)
        under_way = 0
        try:
            while waiting or under_way:
                while waiting and under_way < CONNECTIONS and not self._stopping.is_set():
                    self._bot.in_background(self._take, waiting.popleft())
                    under_way += 1
                if not under_way:
                    return
                delivered = self._done.get()
                under_way -= 1
                if delivered.receipt.outcome is Outcome.PAUSE:
                    self.stop()
                yield delivered
        finally:
            self.stop()
            for _ in range(under_way):
                self._done.get()

    def _take(self, letter: Letter) -> None:
        try:
            delivered = self._delivered(letter)
        except BaseException as error:
            # Whatever it is, somebody waits for an answer.
            reason = self._options.mask(f"{type(error).__name__}: {error}")
            logger.error("A message could not be sent. %s", reason, exc_info=self._options.exc_info(error))
            delivered = Delivered(letter, Receipt.retry(reason=reason, message=letter.message))
        self._done.put(delivered)

    def _delivered(self, letter: Letter) -> Delivered:
        """Make the calls of one letter, from where it stopped, with the chat's interval in between."""
        start, moved_from, provider_id = letter.done, "", ""
        receipt = Receipt.sent()
        for number, call in enumerate(letter.calls[start:], start):
            if number > start and self._stopping.wait(letter.interval):
                receipt = Receipt.later(letter.interval, "The rest of the message is to follow.")
                break
            try:
                answer = self._called(letter.chat, call)
                if answer.migrate_to_chat_id and not moved_from:
                    moved_from, letter.chat = letter.chat, answer.migrate_to_chat_id
                    answer = self._called(letter.chat, call)
                receipt = verdicts.of_answer(answer)
                if call.alone and verdicts.is_file_refused(answer):
                    receipt = self._without_file(letter.chat, call.alone, receipt)
            except NoAnswer as error:
                receipt = verdicts.of_no_answer(error)
            if receipt.outcome is not Outcome.SENT:
                if number:
                    receipt = replace(receipt, reason=f"Part {number + 1} of {len(letter.calls)}: {receipt.reason}")
                break
            letter.done = number + 1
            # Of several, the first: that is where the message begins in the chat.
            provider_id = provider_id or receipt.provider_id
        if receipt.outcome is Outcome.SENT:
            receipt = replace(receipt, provider_id=provider_id)
        return Delivered(letter, replace(receipt, message=letter.message), moved_from)

    def _without_file(self, chat: str, alone: Call, refusal: Receipt) -> Receipt:
        """Send the text whose file was refused. The message failed all the same, if with less lost, and says so."""
        receipt = verdicts.of_answer(self._called(chat, alone))
        if receipt.outcome is not Outcome.SENT:
            return receipt
        return Receipt.failed(f"The text was sent, and its attachment was refused: {refusal.reason}")

    def _called(self, chat: str, call: Call) -> Answer:
        """Make a call; what is refused for its form is called once more in a plainer one."""
        answer = self._called_once(chat, call)
        if call.method == "sendPhoto" and verdicts.is_photo_refused(answer):
            answer = self._called_once(chat, replace(call, method="sendDocument"))
        return answer

    def _called_once(self, chat: str, call: Call) -> Answer:
        params = {"chat_id": chat, **call.params}
        answer = self._bot.call(call.method, params, attachment=call.attachment)
        if call.plain and verdicts.is_markup_refused(answer):
            answer = self._bot.call(call.method, {**params, **call.plain}, attachment=call.attachment)
        return answer

"""Calls methods of the Bot API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dsn_core.kit import http
from dsn_telegram.extra import Attachment
from dsn_telegram.options import TelegramOptions

#: Bytes of an answer that are read: up to a hundred updates. Other answers have a few hundred bytes.
_LONGEST_ANSWER: Final = 1_000_000
_JSON: Final = {"Content-Type": "application/json"}
_FILE_FIELDS: Final = {"sendPhoto": "photo", "sendDocument": "document"}


@dataclass(frozen=True)
class Answer:
    """What the Bot API said. ``status`` is that of HTTP; ``is_its_own``: it is in the words of the Bot API."""

    status: int
    ok: bool = False
    result: Any = None
    description: str = ""
    retry_after: float | None = None
    migrate_to_chat_id: str = ""
    is_its_own: bool = True


class Bot:
    """Calls methods of the Bot API as one bot. May be called by several threads at the same time."""

    def __init__(self, options: TelegramOptions) -> None:
        self.id = options.bot_id
        self._options = options

    def __repr__(self) -> str:
        return f"<Bot {self.id}>"

    def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        attachment: Attachment | None = None,
        timeout: float | None = None,
    ) -> Answer:
        """Call ``method`` and return what the Bot API says.

        ``timeout`` is in seconds, by default the option TIMEOUT. Params that are None are left out. Raises
        :class:`~dsn_core.exceptions.ProviderError` where there is no answer.
        """
        options = self._options
        url = f"{options.API_BASE.rstrip('/')}/bot{options.BOT_TOKEN}/{method}"
        given = {name: value for name, value in (params or {}).items() if value is not None}
        if attachment is None:
            body = json.dumps(given, separators=(",", ":")).encode("ascii")
            request = http.Request("POST", url, headers=_JSON, content=body)
        else:
            form = {name: value if isinstance(value, str) else json.dumps(value) for name, value in given.items()}
            file = (attachment.name, attachment.content, attachment.mimetype)
            request = http.Request("POST", url, form=form, files={_FILE_FIELDS[method]: file})
        answer = http.exchange(
            request,
            timeout=timeout or options.TIMEOUT,
            mask=options.mask,
            longest=_LONGEST_ANSWER,
            name="the Bot API",
            user_agent="dsn-telegram",
        )
        return _read(answer)


def _read(answer: http.Answer) -> Answer:
    """An answer, of the Bot API or of what stands before it."""
    said = answer.json()
    if not isinstance(said, dict) or not isinstance(said.get("ok"), bool):
        return Answer(answer.status, retry_after=answer.retry_after, is_its_own=False)
    parameters = said.get("parameters")
    parameters = parameters if isinstance(parameters, dict) else {}
    wait = http.seconds_of(str(parameters.get("retry_after", "")))
    return Answer(
        status=answer.status,
        ok=said["ok"],
        result=said.get("result"),
        description=" ".join(str(said.get("description", "")).split())[:500],
        retry_after=answer.retry_after if wait is None else wait,
        migrate_to_chat_id=str(parameters.get("migrate_to_chat_id") or ""),
    )

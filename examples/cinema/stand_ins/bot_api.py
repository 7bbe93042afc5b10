"""Stands in for Telegram's Bot API, with one bot, and for the telephones on which people press Start.

``python -m stand_ins.bot_api --token 123:abc`` prints its port. What the bot may call is at ``/bot<token>/<method>``;
``/telephone`` is a page for people, and what begins with ``/_`` is for the program that started it.
"""

from __future__ import annotations

import html
import itertools
import json
import re
import time
import urllib.request
import zlib
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from stand_ins.server import Handler, arguments, serve, show

USER_NAME: Final = "electric_cinema_bot"
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Refusal(Exception):
    """An answer that is not ok."""

    def __init__(self, status: int, description: str) -> None:
        super().__init__(description)
        self.status = status


class BotApi:
    """The bot, its chats, and its methods, each named as the Bot API's in small letters."""

    def __init__(self, token: str, is_shown: bool) -> None:
        self.token, self._is_shown = token, is_shown
        self.blocked: set[str] = set()
        self.messages: list[dict[str, Any]] = []
        self._webhook: dict[str, Any] = {}
        self._message_ids, self._update_ids = itertools.count(101), itertools.count(1)

    def getme(self, params: dict[str, Any]) -> Any:
        return {"id": int(self.token.split(":")[0]), "is_bot": True, "first_name": "Cinema", "username": USER_NAME}

    def sendmessage(self, params: dict[str, Any]) -> Any:
        chat, text = str(params.get("chat_id", "")), str(params.get("text", ""))
        if not re.fullmatch(r"-?\d+", chat):
            raise Refusal(400, "Bad Request: chat not found")
        if chat in self.blocked:
            raise Refusal(403, "Forbidden: bot was blocked by the user")
        if params.get("parse_mode") == "HTML":
            text = html.unescape(re.sub(r"<[^>]*>", "", text))
        if not text.strip():
            raise Refusal(400, "Bad Request: message text is empty")
        message = {"chat": chat, "text": text, "message_id": next(self._message_ids)}
        self.messages.append(message)
        if self._is_shown:
            show(f"Telegram to chat {chat}:", text)
        return {"message_id": message["message_id"], "date": int(time.time()), "chat": {"id": int(chat)}, "text": text}

    def setwebhook(self, params: dict[str, Any]) -> Any:
        self._webhook = params
        return True

    def getwebhookinfo(self, params: dict[str, Any]) -> Any:
        return {"url": self._webhook.get("url", ""), "pending_update_count": 0}

    def press_start(self, link: str, chat: int, name: str) -> str:
        """A user opened ``link`` and pressed Start: what the bot answers.

        Raises ValueError for a link that is not to this bot, OSError when the webhook is not there or refuses.
        """
        parts = urlsplit(link.strip())
        token = parse_qs(parts.query).get("start", [""])[0]
        if (parts.hostname, parts.path) != ("t.me", f"/{USER_NAME}") or not token:
            raise ValueError(f"A link to this bot looks like https://t.me/{USER_NAME}?start=...")
        sender = {"id": chat, "is_bot": False, "first_name": name, "username": name.lower()}
        message = {"message_id": next(self._message_ids), "date": int(time.time()), "from": sender}
        message |= {"chat": {"id": chat, "type": "private"}, "text": f"/start {token}"}
        update = {"update_id": next(self._update_ids), "message": message}
        return self._call_webhook(update)

    def _call_webhook(self, update: dict[str, Any]) -> str:
        if not self._webhook:
            raise OSError("no webhook is set, so that the bot does not hear of it")
        headers = {"Content-Type": "application/json"}
        headers["X-Telegram-Bot-Api-Secret-Token"] = self._webhook.get("secret_token", "")
        request = urllib.request.Request(self._webhook["url"], json.dumps(update).encode(), headers)  # noqa: S310
        with _direct.open(request, timeout=30) as response:
            reply = json.loads(response.read() or b"{}")
        if not reply:
            return ""
        # What the webhook answers, the Bot API carries out.
        return str(getattr(self, reply.pop("method").lower())(reply)["text"])


METHODS: Final = ("getme", "sendmessage", "setwebhook", "getwebhookinfo")


class BotApiHandler(Handler):
    api: BotApi

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        address = urlsplit(self.path)
        if address.path == "/_messages":
            self.answer_json(200, self.api.messages)
        elif address.path == "/telephone":
            self.answer(200, telephone(parse_qs(address.query).get("link", [""])[0]))
        else:
            self.answer(404, "There is nothing here.")

    def do_POST(self) -> None:  # noqa: N802
        body = self.body()
        if self.path == "/_blocked":
            self.api.blocked = set(json.loads(body))
            self.answer_json(200, True)
        elif self.path == "/_start":
            try:
                self.answer_json(200, self.api.press_start(**json.loads(body)))
            except (OSError, ValueError) as error:
                self.answer_json(200, f"The bot did not answer: {error}")
        elif self.path == "/telephone":
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(200, self._pressed(form.get("link", ""), form.get("name", "")))
        else:
            self._call(body)

    def _call(self, body: str) -> None:
        token, _, method = self.path.removeprefix("/bot").partition("/")
        try:
            if token != self.api.token:
                raise Refusal(401, "Unauthorized")
            if method.lower() not in METHODS:
                raise Refusal(404, "Not Found")
            result = getattr(self.api, method.lower())(json.loads(body or "{}"))
        except Refusal as refusal:
            said = {"ok": False, "error_code": refusal.status, "description": str(refusal)}
            self.answer_json(refusal.status, said)
        else:
            self.answer_json(200, {"ok": True, "result": result})

    def _pressed(self, link: str, name: str) -> str:
        name = re.sub(r"\W", "", name, flags=re.ASCII)[:30] or "Somebody"
        try:
            # The same name is the same telephone, also tomorrow.
            reply = self.api.press_start(link, 10_000 + zlib.crc32(name.lower().encode()), name)
        except (OSError, ValueError) as error:
            return telephone(link, f"That did not work: {error}")
        return telephone("", reply or "The bot said nothing.")


def telephone(link: str, said: str = "") -> str:
    """The page on which people press Start."""
    answer = re.sub(r"(http://\S+)", r'<a href="\1">\1</a>', html.escape(said)).replace("\n", "<br>")
    form = f"""<form method="post" action="/telephone">
<p><label>Whose telephone is it? <input name="name" value="Eve"></label></p>
<p><label>The link from the site <input name="link" size="60" value="{html.escape(link)}"></label></p>
<p><button>Start</button></p></form>"""
    return f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>A telephone</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>body {{ max-width: 40em; margin: 2em auto; padding: 0 1em; font: 17px/1.5 sans-serif; }}</style></head><body>
<h1>@{USER_NAME}</h1><p>This stands in for Telegram on a telephone.</p>
{f"<blockquote>{answer}</blockquote>" if said else form}</body></html>"""


def main() -> None:
    parser = arguments("Stand in for Telegram's Bot API.")
    parser.add_argument("--token", required=True, help="the bot's")
    given = parser.parse_args()
    BotApiHandler.api = BotApi(given.token, given.show)
    serve(BotApiHandler, given.seconds)


if __name__ == "__main__":
    main()

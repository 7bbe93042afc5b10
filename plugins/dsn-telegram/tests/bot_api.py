"""A server that behaves like Telegram's Bot API, as a program of its own. Standard library only.

``python bot_api.py --token 123:abc [--seconds 120] [--delay 0.02] [--limits] [--certificate FILE]`` listens on a free
port of 127.0.0.1, prints that port as its first line, and ends by itself after ``--seconds``.

Like the real one it checks tokens, chats, lengths and markup, keeps the limits of 30/s a bot, 1/s a chat and 20/min a
group (``--limits``) with 429 and ``retry_after``, moves groups to supergroups, hands out updates by ``getUpdates`` or
to a webhook, and takes files. A test tells it what to do by ``POST /control`` with a JSON object, whose key ``do`` is
one of the functions ``do_...`` below.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import email.parser
import email.policy
import html
import json
import re
import ssl
import time
from collections import defaultdict, deque
from typing import Any
from urllib.parse import parse_qsl, urlsplit

TAGS = {"b", "i", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler", "span", "tg-emoji", "strong", "em"}
PIECE = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9-]*)([^<>]*)>|&(#?\w+);|([<>&])|([^<>&]+)")
JSON_HEADERS = {"Content-Type": "application/json"}


class Refusal(Exception):
    """An answer that is not ok."""

    def __init__(self, status: int, description: str, **parameters: Any) -> None:
        super().__init__(description)
        self.status, self.description, self.parameters = status, description, parameters


def utf16(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def parse_html(source: str) -> str:
    """The text of Telegram's HTML, or the refusal of what the Bot API cannot parse."""
    stack: list[str] = []
    text: list[str] = []
    for found in PIECE.finditer(source):
        closing, tag, _, entity, stray, words = found.groups()
        if tag and tag not in TAGS:
            raise Refusal(400, f'Bad Request: can\'t parse entities: Unsupported start tag "{tag}" at byte offset 0')
        if stray:
            raise Refusal(400, "Bad Request: can't parse entities: Unclosed start tag at byte offset 0")
        if tag and closing:
            if not stack or stack.pop() != tag:
                raise Refusal(400, "Bad Request: can't parse entities: Unexpected end tag at byte offset 0")
        elif tag:
            if tag in stack or {"code", "pre"} & set(stack) - ({"pre"} if tag == "code" else set()):
                raise Refusal(400, "Bad Request: can't parse entities: tags cannot stand in one another like that")
            stack.append(tag)
        text.append(html.unescape(f"&{entity};") if entity else words or "")
    if stack:
        raise Refusal(400, "Bad Request: can't parse entities: Can't find end tag corresponding to start tag")
    return "".join(text)


class Api:
    """The state of the bot, and its methods."""

    def __init__(self, token: str, *, delay: float, limits: bool) -> None:
        self.token, self.delay, self.limits = token, delay, limits
        self.user_name = "cinema_bot"
        self.something_happens = asyncio.Event()
        self.reset()

    def reset(self) -> None:
        self.calls: list[dict[str, Any]] = []
        self.refused: dict[str, int] = defaultdict(int)
        self.script: dict[str, deque[dict[str, Any]]] = defaultdict(deque)
        self.missing: set[str] = set()
        self.blocked: set[str] = set()
        self.moved: dict[str, str] = {}
        self.updates: list[dict[str, Any]] = []
        self.next_update, self.next_message = 1, 1
        self.webhook: dict[str, Any] = {}
        self.taken: dict[str, deque[float]] = defaultdict(deque)

    # What the Bot API does

    def getme(self, params: dict[str, Any]) -> Any:
        return {"id": int(self.token.split(":")[0]), "is_bot": True, "first_name": "Cinema", "username": self.user_name}

    def sendmessage(self, params: dict[str, Any]) -> Any:
        return self._send("text", 4096, params)

    def sendphoto(self, params: dict[str, Any]) -> Any:
        if not params.get("photo"):
            raise Refusal(400, "Bad Request: there is no photo in the request")
        return self._send("caption", 1024, params)

    def senddocument(self, params: dict[str, Any]) -> Any:
        if not params.get("document"):
            raise Refusal(400, "Bad Request: there is no document in the request")
        return self._send("caption", 1024, params)

    def setwebhook(self, params: dict[str, Any]) -> Any:
        self.webhook = params
        return True

    def deletewebhook(self, params: dict[str, Any]) -> Any:
        self.webhook = {}
        return True

    def getwebhookinfo(self, params: dict[str, Any]) -> Any:
        return {"url": self.webhook.get("url", ""), "pending_update_count": len(self.updates)}

    async def getupdates(self, params: dict[str, Any]) -> Any:
        if self.webhook:
            raise Refusal(409, "Conflict: can't use getUpdates method while webhook is active")
        offset = int(params.get("offset", 0))
        self.updates = [update for update in self.updates if update["update_id"] >= offset]
        if not self.updates:
            self.something_happens.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.something_happens.wait(), float(params.get("timeout", 0)))
        return self.updates[:100]

    def _send(self, name: str, longest: int, params: dict[str, Any]) -> Any:
        chat = str(params.get("chat_id", ""))
        if not re.fullmatch(r"-?\d+|@\w+", chat) or chat in self.missing:
            raise Refusal(400, "Bad Request: chat not found")
        if chat in self.blocked:
            raise Refusal(403, "Forbidden: bot was blocked by the user")
        if chat in self.moved:
            raise Refusal(
                400,
                "Bad Request: group chat was upgraded to a supergroup chat",
                migrate_to_chat_id=int(self.moved[chat]),
            )
        said = str(params.get(name, ""))
        text = parse_html(said) if params.get("parse_mode") == "HTML" else said
        if name == "text" and not text.strip():
            raise Refusal(400, "Bad Request: message text is empty")
        if utf16(text) > longest:
            raise Refusal(400, f"Bad Request: {'message' if name == 'text' else 'message caption'} is too long")
        if self.limits:
            self._keep_limits(chat)
        message_id, self.next_message = self.next_message, self.next_message + 1
        self.calls.append({**params, "shown": text, "message_id": message_id, "at": time.monotonic()})
        return {"message_id": message_id, "date": int(time.time()), "chat": {"id": chat}, "text": text}

    def _keep_limits(self, chat: str) -> None:
        now = time.monotonic()
        rules = [("the bot", 30, 1.0), (chat, 1, 1.0)]
        if chat.startswith("-"):
            rules.append((chat + " (group)", 20, 60.0))
        for key, count, seconds in rules:
            taken = self.taken[key]
            # Half the time, since on a busy machine calls do not take equally long on their way.
            while taken and taken[0] < now - 0.5 * seconds:
                taken.popleft()
            if len(taken) >= count:
                wait = max(1, round(taken[0] + seconds - now + 0.5))
                self.refused[key] += 1
                raise Refusal(429, f"Too Many Requests: retry after {wait}", retry_after=wait)
        for key, _, _ in rules:
            self.taken[key].append(now)

    # What a test can do

    def do_calls(self, given: dict[str, Any]) -> Any:
        """What was sent, oldest first."""
        return self.calls

    def do_refused(self, given: dict[str, Any]) -> Any:
        """How often each limit was hit."""
        return self.refused

    def do_reset(self, given: dict[str, Any]) -> Any:
        self.reset()
        return True

    def do_set(self, given: dict[str, Any]) -> Any:
        """Chats that are ``missing``, ``blocked`` or ``moved``; ``limits``, ``delay``, ``token``."""
        for name, value in given.items():
            if name != "do":
                setattr(self, name, set(value) if isinstance(value, list) else value)
        return True

    def do_script(self, given: dict[str, Any]) -> Any:
        """The next answers to a chat's calls (``chat``: an id, a method in small letters, or ``*`` for any).

        Each may have ``delay`` or ``hang`` (seconds), ``cut`` (``before`` an answer, or in its ``middle``), or
        ``status``, ``body`` (JSON or text) and ``headers``; ``taken`` says that the message arrives all the same.
        """
        self.script[str(given["chat"])].extend(given["answers"])
        return True

    async def do_update(self, given: dict[str, Any]) -> Any:
        """Something happens in a chat: the webhook is called, and its answer returned; without one it waits."""
        update = {"update_id": self.next_update, **given["update"]}
        self.next_update += 1
        if not self.webhook:
            self.updates.append(update)
            self.something_happens.set()
            return None
        return await self._call_webhook(update)

    async def _call_webhook(self, update: dict[str, Any]) -> Any:
        url = urlsplit(self.webhook["url"])
        body = json.dumps(update).encode()
        head = f"POST {url.path} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
        head += f"Content-Length: {len(body)}\r\nConnection: close\r\n"
        if secret := self.webhook.get("secret_token"):
            head += f"X-Telegram-Bot-Api-Secret-Token: {secret}\r\n"
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(head.encode() + b"\r\n" + body)
        answer = await reader.read()
        writer.close()
        status, text = int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]
        reply = json.loads(text) if text.startswith(b"{") else None
        if status == 200 and reply:
            # The Bot API carries out what the webhook answers.
            getattr(self, reply.pop("method").lower())(reply)
        return {"status": status}


class Connection:
    """One connection of a client, which is kept."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while request := await self._request(reader):
                if not await self._answer(*request, writer):
                    break
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes] | None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        except asyncio.IncompleteReadError:
            return None
        first, *lines = head.strip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return first.split()[1], headers, await reader.readexactly(int(headers.get("content-length", 0)))

    async def _answer(self, path: str, headers: dict[str, str], body: bytes, writer: asyncio.StreamWriter) -> bool:
        params = _params(headers.get("content-type", ""), body)
        if path == "/control":
            result = getattr(self.api, f"do_{params['do']}")(params)
            result = await result if asyncio.iscoroutine(result) else result
            return _write(writer, 200, json.dumps(result))
        token, _, method = path.removeprefix("/bot").partition("/")
        method = method.lower()
        for key in (str(params.get("chat_id", "")), method, "*"):
            if self.api.script[key]:
                return await self._scripted(self.api.script[key].popleft(), method, params, writer)
        if self.api.delay:
            await asyncio.sleep(self.api.delay)
        try:
            if token != self.api.token:
                raise Refusal(401, "Unauthorized")
            function = getattr(self.api, method, None)
            if function is None or method.startswith(("_", "do_", "reset")):
                raise Refusal(404, "Not Found")
            result = function(params)
            result = await result if asyncio.iscoroutine(result) else result
            return _write(writer, 200, json.dumps({"ok": True, "result": result}))
        except Refusal as refusal:
            answer = {"ok": False, "error_code": refusal.status, "description": refusal.description}
            if refusal.parameters:
                answer["parameters"] = refusal.parameters
            return _write(writer, refusal.status, json.dumps(answer))

    async def _scripted(
        self, step: dict[str, Any], method: str, params: dict[str, Any], writer: asyncio.StreamWriter
    ) -> bool:
        if step.get("taken"):
            getattr(self.api, method)(params)
        await asyncio.sleep(step.get("delay", 0) + step.get("hang", 0))
        if step.get("hang") or step.get("cut") == "before":
            writer.transport.abort()
            return False
        if step.get("cut") == "middle":
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"ok": true, "resu')
            await writer.drain()
            writer.transport.abort()
            return False
        body = step.get("body", "")
        return _write(
            writer, step["status"], body if isinstance(body, str) else json.dumps(body), step.get("headers", {})
        )


def _params(kind: str, body: bytes) -> dict[str, Any]:
    if kind.startswith("multipart/form-data"):
        head = f"Content-Type: {kind}\r\n\r\n".encode()
        message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
        found: dict[str, Any] = {}
        for part in message.iter_parts():  # type: ignore[attr-defined]  # an EmailMessage, by its policy
            name = part.get_param("name", header="content-disposition")
            content = part.get_payload(decode=True)
            if part.get_filename():
                found[name] = {"name": part.get_filename(), "type": part.get_content_type(), "bytes": len(content)}
            else:
                found[name] = content.decode()
        return found
    if kind.startswith("application/json"):
        return dict(json.loads(body or b"{}"))
    return dict(parse_qsl(body.decode()))


def _write(writer: asyncio.StreamWriter, status: int, body: str, headers: dict[str, str] | None = None) -> bool:
    content = body.encode()
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}"]
    lines += [f"{name}: {value}" for name, value in {**JSON_HEADERS, **(headers or {})}.items()]
    writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
    return True


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--token", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--delay", type=float, default=0.0)
    parser.add_argument("--limits", action="store_true")
    parser.add_argument("--certificate")
    given = parser.parse_args()
    context = None
    if given.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(given.certificate)
    api = Api(given.token, delay=given.delay, limits=given.limits)
    server = await asyncio.start_server(
        lambda reader, writer: Connection(api).serve(reader, writer),
        "127.0.0.1",
        given.port,
        ssl=context,
        limit=2**26,
        backlog=512,
    )
    print(server.sockets[0].getsockname()[1], flush=True)  # noqa: T201 - a program, which says where it is
    await asyncio.sleep(given.seconds)


if __name__ == "__main__":
    asyncio.run(main())

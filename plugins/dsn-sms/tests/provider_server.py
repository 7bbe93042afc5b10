"""A server on loopback that behaves like Twilio, Vonage, Amazon SNS and a plain gateway. A program of its own::

    python provider_server.py [--seconds 120] [--delay 0.02] [--certificate cert.pem --key key.pem]

prints the port that it listens on, and ends by itself after ``--seconds`` or when its standard input is closed.

It keeps what it was asked (``GET /_requests``), and answers as ``POST /_script`` says, a JSON object: ``mode`` (see
``FAULTS``), ``delay`` (seconds), ``retry_after``, and ``numbers``: by number ``[status, code, words]``, the error that
the provider would answer about it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import ssl
import sys
import threading
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

FAULTS = ("ok", "hang", "close", "cut", "drip", "garbage", "empty", "status")

XML_SNS = "http://sns.amazonaws.com/doc/2010-03-31/"


class Provider:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.requests: list[dict[str, Any]] = []
        self.files: dict[str, str] = {}
        self.script: dict[str, Any] = {}
        self.connections = 0
        self.under_way = 0
        self.most_under_way = 0
        self._numbers = itertools.count(1)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                line, *rest = head.decode("latin-1").split("\r\n")
                method, target, _ = line.split(" ")
                rows = [row.partition(":") for row in rest if row]
                headers = {name.lower(): value.strip() for name, _, value in rows}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.under_way += 1
                self.most_under_way = max(self.most_under_way, self.under_way)
                try:
                    if not await self.answer(reader, writer, method, target, headers, body):
                        break
                finally:
                    self.under_way -= 1
        except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
            # The client is done with this connection, or the program is done with all.
            pass
        finally:
            writer.close()

    async def answer(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: str,
        target: str,
        headers: dict[str, str],
        body: bytes,
    ) -> bool:
        """Answer one request. Returns whether the connection stays open."""
        path = urlsplit(target).path
        if path.startswith("/_"):
            return await self.control(writer, path, body)
        if path in self.files:
            return await self.send(writer, 200, self.files[path], "application/x-pem-file")
        self.requests.append(
            {"method": method, "target": target, "headers": headers, "body": body.decode("utf-8", "replace")}
        )
        mode = self.script.get("mode", "ok")
        if delay := self.script.get("delay", self.delay):
            await asyncio.sleep(delay)
        if mode == "hang":
            # Until the client has enough of it.
            await reader.read()
            return False
        if mode == "close":
            return False
        if mode in ("cut", "drip"):
            writer.write(b'HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"si')
            await writer.drain()
            if mode == "cut":
                return False
            for _ in range(2_000):
                await asyncio.sleep(0.05)
                writer.write(b" ")
                await writer.drain()
            return False
        if mode == "garbage":
            return await self.send(writer, 200, "<html>It works!</html>", "text/html")
        if mode == "empty":
            return await self.send(writer, 200, "", "application/json")
        if mode == "status":
            return await self.send(writer, self.script["status"], self.script.get("body", ""), "application/json")
        status, text, kind = self.provider(path)(headers, body, target)
        return await self.send(writer, status, text, kind)

    async def send(self, writer: asyncio.StreamWriter, status: int, text: str, kind: str) -> bool:
        content = text.encode()
        more = ""
        if "retry_after" in self.script:
            more = f"Retry-After: {self.script['retry_after']}\r\n"
        if 300 <= status < 400:
            more += "Location: /elsewhere\r\n"
        writer.write(
            f"HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\nContent-Length: {len(content)}\r\n{more}\r\n".encode()
            + content
        )
        await writer.drain()
        return True

    async def control(self, writer: asyncio.StreamWriter, path: str, body: bytes) -> bool:
        said: Any = {}
        if path == "/_script":
            self.script = json.loads(body)
            assert self.script.get("mode", "ok") in FAULTS
        elif path == "/_files":
            self.files = json.loads(body)
        elif path == "/_reset":
            self.script, self.requests, self.files, self.connections = {}, [], {}, 0
            self.most_under_way = 0
        elif path == "/_requests":
            said = {
                "requests": self.requests,
                "connections": self.connections,
                "most_under_way": self.most_under_way,
            }
        self.requests, content = self.requests, json.dumps(said).encode()
        writer.write(
            f"HTTP/1.1 200 OK\r\nContent-Length: {len(content)}\r\nConnection: close\r\n\r\n".encode() + content
        )
        await writer.drain()
        return False

    # What each provider answers.

    def provider(self, path: str) -> Any:
        if path.startswith("/2010-04-01/Accounts/"):
            return self.twilio
        if path == "/v1/messages":
            return self.vonage
        if path == "/":
            return self.sns
        return self.gateway

    def refusal(self, number: str) -> tuple[int, str, str] | None:
        found = self.script.get("numbers", {}).get(number)
        return tuple(found) if found else None  # type: ignore[return-value]

    def twilio(self, headers: dict[str, str], body: bytes, target: str) -> tuple[int, str, str]:
        account = urlsplit(target).path.split("/")[3]
        given = base64.b64decode(headers.get("authorization", "").removeprefix("Basic ")).decode()
        if not given.startswith(f"{account}:") or given.endswith(":wrong"):
            return self.json(401, {"code": 20003, "message": "Authenticate", "more_info": "...", "status": 401})
        form = {name: values[0] for name, values in parse_qs(body.decode(), keep_blank_values=True).items()}
        if found := self.refusal(form["To"]):
            status, code, words = found
            return self.json(status, {"code": int(code), "message": words, "status": status})
        sid = f"SM{next(self._numbers):032x}"
        answer = {"sid": sid, "status": "queued", "error_code": None, "to": form["To"], "body": form["Body"]}
        return self.json(201, answer)

    def vonage(self, headers: dict[str, str], body: bytes, target: str) -> tuple[int, str, str]:
        said = json.loads(body)
        if not headers.get("authorization", "").startswith("Basic "):
            return self.json(
                401, {"type": "https://developer.nexmo.com/api-errors#unauthorized", "title": "Unauthorized"}
            )
        if found := self.refusal(said["to"]):
            status, code, words = found
            kind = f"https://developer.vonage.com/api-errors/messages#{code}"
            return self.json(status, {"type": kind, "title": words, "detail": "", "instance": "1"})
        return self.json(202, {"message_uuid": f"aaaaaaaa-bbbb-4ccc-8ddd-{next(self._numbers):012d}"})

    def sns(self, headers: dict[str, str], body: bytes, target: str) -> tuple[int, str, str]:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if "Action=ConfirmSubscription" in target:
            return 200, "<ConfirmSubscriptionResponse/>", "text/xml"
        if found := self.refusal(form["PhoneNumber"]):
            status, code, words = found
            error = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{words}</Message></Error>"
            return (
                status,
                f'<ErrorResponse xmlns="{XML_SNS}">{error}<RequestId>1</RequestId></ErrorResponse>',
                "text/xml",
            )
        result = f"<MessageId>sns-{next(self._numbers)}</MessageId>"
        result = f"<PublishResult>{result}</PublishResult><ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>"
        return 200, f'<PublishResponse xmlns="{XML_SNS}">{result}</PublishResponse>', "text/xml"

    def gateway(self, headers: dict[str, str], body: bytes, target: str) -> tuple[int, str, str]:
        for number in self.script.get("numbers", {}):
            if number.lstrip("+") in unquote(target) or number.lstrip("+") in unquote(body.decode()):
                status, code, words = self.refusal(number) or (400, "", "")
                return self.json(status, {"result": {"status": "error", "code": code, "words": words}})
        if target.startswith("/plain"):
            return 200, f"OK id={next(self._numbers)}", "text/plain"
        return self.json(200, {"result": {"status": "accepted", "messages": [{"id": next(self._numbers)}]}})

    @staticmethod
    def json(status: int, said: Any) -> tuple[int, str, str]:
        return status, json.dumps(said), "application/json"


async def run(arguments: argparse.Namespace) -> None:
    context = None
    if arguments.certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(arguments.certificate, arguments.key)
    provider = Provider(arguments.delay)
    server = await asyncio.start_server(provider.serve, "127.0.0.1", 0, ssl=context, backlog=256)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def watch() -> None:
        # Whoever started it is gone, or done with it.
        sys.stdin.read()
        loop.call_soon_threadsafe(ended.set)

    threading.Thread(target=watch, daemon=True).start()
    try:
        await asyncio.wait_for(ended.wait(), arguments.seconds)
    except TimeoutError:
        sys.stderr.write("its time is over\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--delay", type=float, default=0)
    parser.add_argument("--certificate")
    parser.add_argument("--key")
    asyncio.run(run(parser.parse_args()))

"""Stands in for Twilio: takes messages, and reports what became of them, signed as Twilio signs.

``python -m stand_ins.sms --account AC... --key ...`` prints its port. What begins with ``/_`` is for the program that
started it.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import threading
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from stand_ins.server import Handler, arguments, serve, show

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Provider:
    """The account, and the messages that it took."""

    def __init__(self, account: str, key: str, report_after: float | None, is_shown: bool) -> None:
        self.account, self.key = account, key
        self._report_after, self._is_shown = report_after, is_shown
        self.stopped: set[str] = set()
        self.messages: list[dict[str, str]] = []
        self._lock = threading.Lock()
        self._unreported: list[dict[str, str]] = []

    def take(self, form: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """Status and answer to a message."""
        if form.get("To") in self.stopped:
            words = "Attempt to send to unsubscribed recipient"
            return 400, {"code": 21610, "message": words, "status": 400}
        message = {"sid": f"SM{secrets.token_hex(16)}", "to": form["To"], "text": form["Body"]}
        with self._lock:
            self.messages.append(message)
            self._unreported.append(message | {"url": form.get("StatusCallback", ""), "from": form["From"]})
        if self._is_shown:
            show(f"SMS to {message['to']}:", message["text"])
        if self._report_after is not None:
            timer = threading.Timer(self._report_after, self.report)
            timer.daemon = True
            timer.start()
        return 201, {"sid": message["sid"], "status": "queued", "error_code": None, "to": message["to"]}

    def report(self) -> list[int]:
        """The telephones got their messages: tell the site of each. Returns the statuses of its answers; 0: none."""
        with self._lock:
            messages, self._unreported = self._unreported, []
        return [self._tell(message) for message in messages if message["url"]]

    def _tell(self, message: dict[str, str]) -> int:
        form = {"MessageSid": message["sid"], "MessageStatus": "delivered", "AccountSid": self.account}
        form |= {"To": message["to"], "From": message["from"]}
        # The signature is over the address and the sorted fields, by HMAC-SHA1 with the account's key.
        signed = message["url"] + "".join(name + form[name] for name in sorted(form))
        signature = base64.b64encode(hmac.digest(self.key.encode(), signed.encode(), "sha1")).decode()
        request = urllib.request.Request(message["url"], urlencode(form).encode(), {"X-Twilio-Signature": signature})  # noqa: S310
        try:
            with _direct.open(request, timeout=30) as response:
                return int(response.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            # The site is not there any more.
            return 0


class SMSHandler(Handler):
    provider: Provider

    def do_GET(self) -> None:  # noqa: N802 (http.server's name)
        if self.path == "/_messages":
            self.answer_json(200, self.provider.messages)
        else:
            self.answer(404, "There is nothing here.")

    def do_POST(self) -> None:  # noqa: N802
        body = self.body()
        if self.path == "/_stopped":
            self.provider.stopped = set(json.loads(body))
            self.answer_json(200, True)
        elif self.path == "/_report":
            self.answer_json(200, self.provider.report())
        elif urlsplit(self.path).path != f"/2010-04-01/Accounts/{self.provider.account}/Messages.json":
            self.answer_json(404, {"code": 20404, "message": "Not found", "status": 404})
        elif not self._may_send():
            self.answer_json(401, {"code": 20003, "message": "Authenticate", "status": 401})
        else:
            self.answer_json(*self.provider.take(dict(parse_qsl(body))))

    def _may_send(self) -> bool:
        login = f"{self.provider.account}:{self.provider.key}".encode()
        return self.headers.get("Authorization") == f"Basic {base64.b64encode(login).decode()}"


def main() -> None:
    parser = arguments("Stand in for Twilio.")
    parser.add_argument("--account", required=True, help="the account's SID")
    parser.add_argument("--key", required=True, help="the account's key")
    parser.add_argument("--report-after", type=float, metavar="SECONDS", help="report by itself, so long after taking")
    given = parser.parse_args()
    SMSHandler.provider = Provider(given.account, given.key, given.report_after, given.show)
    serve(SMSHandler, given.seconds)


if __name__ == "__main__":
    main()

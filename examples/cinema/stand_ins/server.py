"""The HTTP server on 127.0.0.1 of the stand-ins that are programs."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

#: Each connection has a thread of its own.
_printing = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One connection. It is kept between requests, and nothing is logged."""

    protocol_version = "HTTP/1.1"
    # Small answers leave at once, instead of waiting for the client's confirmation of their head.
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def body(self) -> str:
        return self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()

    def answer(self, status: int, text: str, kind: str = "text/html; charset=utf-8") -> None:
        content = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def answer_json(self, status: int, said: Any) -> None:
        self.answer(status, json.dumps(said), "application/json")


class Server(ThreadingHTTPServer):
    """A thread for each connection. Messengers open some dozens at once."""

    daemon_threads = True
    request_queue_size = 128


def arguments(description: str) -> argparse.ArgumentParser:
    """The arguments that all of them have."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--seconds", type=float, default=600, help="it ends after so long, whatever happens (600)")
    parser.add_argument("--show", action="store_true", help="print each message")
    return parser


def serve(handler: type[Handler], seconds: float) -> None:
    """Listen on a free port and print it. Ends after ``seconds``, or when standard input is closed.

    Whoever started the program holds the other end of that, so that it never outlives them, however they end.
    """
    # Ctrl-C reaches every program of a terminal, and is meant for the one in front.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    over = threading.Event()

    def watch() -> None:
        while os.read(sys.stdin.fileno(), 1024):
            pass
        over.set()

    with Server(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=watch, daemon=True).start()
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(server.server_port, flush=True)
        over.wait(seconds)
        server.shutdown()


def framed(head: str, text: str) -> str:
    """How a message is shown in a terminal."""
    lines = [head, *(f"  | {line}" for line in text.splitlines() if line.strip())]
    return "\n".join(line[:80] for line in lines)


def show(head: str, text: str) -> None:
    """Print a message: as one line of JSON, so that other output cannot come in between."""
    with _printing:
        print(json.dumps(framed(head, text)), flush=True)

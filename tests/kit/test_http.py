"""HTTP: real servers on this machine that answer, refuse, hang and break off."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from dsn_core.exceptions import BadSettings, NoAnswer, NoConnection
from dsn_core.kit import http

CANARY = "canary-token"


def mask(text: str) -> str:
    return text.replace(CANARY, "***")


class Handler(BaseHTTPRequestHandler):
    """Answers as the path asks for, and counts connections and requests."""

    protocol_version = "HTTP/1.1"
    server: Any

    def setup(self) -> None:
        super().setup()
        self.server.connections += 1

    def do_POST(self) -> None:
        self.server.bodies.append(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        self.server.heads.append(dict(self.headers))
        what = self.path.rpartition("/")[2]
        if what == "hang":
            self.server.over.wait(20)
            self.close_connection = True
            return
        if what == "cut":
            self.close_connection = True
            return
        self.send_response(302 if what == "elsewhere" else 429 if what == "busy" else 200)
        if what == "elsewhere":
            self.send_header("Location", "/ok")
        if what == "busy":
            self.send_header("retry-after", "7")
        if what == "drip":
            self.send_header("Content-Length", "100000")
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.server.over.wait(0.05):
                    self.wfile.write(b" ")
            self.close_connection = True
            return
        body = b'{"ok": true}' if what != "long" else b"x" * 2_000
        if what == "middle":
            self.close_connection = True
        self.send_header("Content-Length", str(len(body) * (2 if what == "middle" else 1)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def log_message(self, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.connections = 0
        self.bodies: list[bytes] = []
        self.heads: list[dict[str, str]] = []
        self.over = threading.Event()

    def url(self, what: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/bot{CANARY}/{what}"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.over.set()
        http.close_connections()
        made.shutdown()
        thread.join(10)


def post(url: str, timeout: float = 10, **given: Any) -> http.Answer:
    return http.exchange(http.Request("POST", url, **given), timeout=timeout, mask=mask)


def test_an_answer_has_its_status_its_headers_in_any_case_and_its_json(server: Server) -> None:
    answer = post(server.url("ok"), json={"a": 1}, headers={"X-Own": "yes"})
    assert (answer.status, answer.is_success, answer.json()) == (200, True, {"ok": True})
    busy = post(server.url("busy"), form={"to": "+49 1"})
    assert (busy.status, busy.is_success, busy.retry_after, busy.headers["RETRY-AFTER"]) == (429, False, 7.0, "7")
    assert post(server.url("long"), content=b"x").json() is None
    assert server.bodies == [b'{"a":1}', b"to=%2B49+1", b"x"]
    assert server.heads[0]["X-Own"] == "yes"
    assert server.heads[0]["User-Agent"] == "dsn"


def test_files_go_with_a_form(server: Server) -> None:
    post(server.url("ok"), form={"chat": "1"}, files={"photo": ("a.png", b"\x89PNG", "image/png")})
    assert b'name="photo"; filename="a.png"' in server.bodies[0]
    assert b'name="chat"' in server.bodies[0]


def test_connections_are_kept_and_redirects_are_not_followed(server: Server) -> None:
    assert [post(server.url(what)).status for what in ("ok", "elsewhere", "ok")] == [200, 302, 200]
    assert (server.connections, len(server.bodies)) == (1, 3)
    http.close_connections()
    post(server.url("ok"))
    assert server.connections == 2


def test_threads_have_connections_of_their_own(server: Server) -> None:
    def ask() -> None:
        for _ in range(10):
            assert post(server.url("ok")).is_success

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(server.bodies) == 40
    assert 1 <= server.connections <= 4


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("hang", "may have taken it: ReadTimeout"),
        ("cut", "may have taken it"),
        ("middle", "may have taken it"),
        ("drip", "does not end within 0.3 s"),
    ],
)
def test_what_is_written_and_not_answered_may_have_been_taken(server: Server, what: str, said: str) -> None:
    with pytest.raises(NoAnswer, match=said):
        post(server.url(what), timeout=0.3)
    assert len(server.bodies) == 1
    # The next request has a connection that works.
    assert post(server.url("ok")).is_success


def test_of_an_answer_no_more_is_read_than_asked_for(server: Server) -> None:
    request = http.Request("GET", server.url("long"))
    with pytest.raises(NoAnswer, match="longer than 1000 bytes"):
        http.exchange(request, timeout=10, longest=1_000)
    assert len(http.exchange(request, timeout=10, longest=2_000).text) == 2_000


def test_a_port_that_is_closed_is_no_connection() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with pytest.raises(NoConnection, match="No connection to the pager: ConnectError"):
        http.exchange(http.Request("GET", f"http://127.0.0.1:{port}/"), timeout=5, name="the pager")


def test_a_name_that_is_not_known_is_no_connection() -> None:
    with pytest.raises(NoConnection):
        post("http://unknown.localhost:1/")


def test_a_server_that_speaks_no_tls_is_no_connection(server: Server) -> None:
    server.handle_error = lambda *args: None  # type: ignore[method-assign]  # what it hears is no HTTP
    with pytest.raises(NoConnection):
        post(server.url("ok").replace("http:", "https:"))
    assert server.bodies == []


def test_no_proxy_comes_between_us_and_this_machine(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert post(server.url("ok")).is_success


def test_a_request_that_was_not_written_as_a_whole_is_no_connection() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            # Reset, not closed in order, while the client still writes its large body.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.recv(10)
            connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(NoConnection):
            post(f"http://127.0.0.1:{listener.getsockname()[1]}/", content=b"x" * 20_000_000)
        thread.join(10)


@pytest.mark.parametrize("url", [f"http://127.0.0.1:x/{CANARY}", f"ftp://127.0.0.1/{CANARY}", f"/{CANARY}"])
def test_an_address_that_is_none_is_a_matter_of_the_settings_and_does_not_show(url: str) -> None:
    with pytest.raises(BadSettings) as raised:
        post(url)
    assert CANARY not in str(raised.value)
    assert raised.value.__cause__ is None
    assert CANARY not in repr(http.Request("GET", url))


def test_a_request_can_be_checked_without_a_network() -> None:
    http.check_request(http.Request("GET", "http://127.0.0.1:1/"))
    with pytest.raises(BadSettings, match="cannot be made"):
        http.check_request(http.Request("GET", "http://127.0.0.1:x/"))


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A server's address with TLS, and the file with the authority that issued its certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    trusted = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(trusted)
    with Server() as made:
        made.socket = context.wrap_socket(made.socket, server_side=True)
        made.handle_error = lambda *args: None  # type: ignore[method-assign]  # handshakes that fail are expected
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield f"https://127.0.0.1:{made.server_address[1]}/ok", trusted
        http.close_connections()
        made.shutdown()
        thread.join(10)


def test_a_certificate_is_verified_and_the_environment_says_whose_is_believed(
    tls: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, trusted = tls
    with pytest.raises(BadSettings, match="The certificate of the provider is not trusted"):
        post(url)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    http.close_connections()
    assert post(url).is_success


# Proxies


def test_the_environment_says_the_proxy_but_never_for_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy.example:3128")
    monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
    monkeypatch.setenv("NO_PROXY", "inside.example")
    assert http.proxy_for("https://api.example/") == "http://proxy.example:3128"
    assert http.proxy_for("https://sms.inside.example/") == ""
    monkeypatch.delenv("HTTPS_PROXY")
    assert http.proxy_for("https://api.example/") == "socks5://proxy.example:1080"
    for host in ("127.0.0.1", "localhost", "api.localhost", "[::1]"):
        assert http.proxy_for(f"http://{host}:8000/") == ""


def test_a_proxy_that_refuses_is_a_matter_of_the_settings_and_is_told_the_host_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heard: list[bytes] = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                heard.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{listener.getsockname()[1]}")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        http.close_connections()
        with pytest.raises(BadSettings, match="403"):
            post(f"https://kit.invalid/{CANARY}")
        thread.join(10)
    http.close_connections()
    assert heard[0].startswith(b"CONNECT kit.invalid:443 ")
    assert CANARY.encode() not in heard[0]


def test_a_proxy_of_a_kind_that_there_is_not_is_a_matter_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "gopher://127.0.0.1:9")
    http.close_connections()
    with pytest.raises(BadSettings, match="cannot be called"):
        post("https://kit.invalid/")
    http.close_connections()


# Secrets


def test_no_log_and_no_error_has_a_secret(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    caplog.set_level(logging.DEBUG, "httpcore")
    post(server.url("ok"))
    for what in ("cut", "hang"):
        with pytest.raises(NoAnswer) as raised:
            post(server.url(what), timeout=0.3)
        assert CANARY not in str(raised.value)
    assert "send_request_headers" in caplog.text, "httpcore's details are in the log"
    assert CANARY not in caplog.text


def test_another_library_s_log_is_masked_in_this_thread_and_within_the_block(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    logger = logging.getLogger("tests.another_library")
    with http.masked_logs(mask, ["tests.another_library"]):
        logger.info("GET %s", CANARY)
        thread = threading.Thread(target=logger.info, args=("other thread: public",))
        thread.start()
        thread.join(10)
    logger.info("after: public")
    assert [record.getMessage() for record in caplog.records] == ["GET ***", "other thread: public", "after: public"]


# Small pieces


@pytest.mark.parametrize(
    ("header", "seconds"),
    [(None, None), ("", None), ("7", 7.0), ("0", 0.0), ("-3", 0.0), ("9999999", 86_400.0), ("soon", None),
     ("nan", None), ("inf", None), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("Wed, 21 Oct 2015 07:28:00", None)],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date(header: str | None, seconds: float | None) -> None:
    assert http.seconds_of(header) == seconds


@pytest.mark.parametrize(
    ("url", "secure"),
    [("https://a.example/", True), ("http://a.example/", False), ("http://127.0.0.1:80/", True),
     ("http://[::1]/", True), ("http://localhost/", True), ("http://localhost.example/", False),
     ("ftp://127.0.0.1/", False), ("https://", False), ("https://a.example:x/", False), ("http://[bad", False)],
)  # fmt: skip
def test_what_is_secure(url: str, secure: bool) -> None:
    assert http.is_secure(url) is secure


def test_basic_auth() -> None:
    assert http.basic_auth("Aladdin", "open sesame") == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


FORKING = """
import os, sys
from dsn_core.kit import http

def ask_often():
    for number in range(20):
        request = http.Request("POST", sys.argv[1], content=f"{os.getpid()} {number}".encode())
        assert http.exchange(request, timeout=20).is_success

ask_often()
child = os.fork()
ask_often()
if child == 0:
    os._exit(0)
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_connection_does_not_cross_a_fork(server: Server) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING, server.url("ok")],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert len(server.bodies) == 60
    assert server.connections == 2

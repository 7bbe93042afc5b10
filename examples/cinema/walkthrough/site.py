"""The cinema as a site on this machine, and a browser."""

from __future__ import annotations

import html
import http.cookiejar
import re
import threading
import urllib.parse
import urllib.request
from typing import Final

PATIENCE: Final = 30


class Site:
    """The web server, in a thread of its own, from ``with`` to the end of its block.

    To be entered after Django is set up. Its port is open from the beginning, so that the settings can say where it is.
    """

    def __init__(self) -> None:
        from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

        self._server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=[0.05], name="site", daemon=True)

    def __enter__(self) -> Site:
        from django.core.handlers.wsgi import WSGIHandler

        self._server.set_app(WSGIHandler())
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._server.shutdown()
        self._thread.join(PATIENCE)
        self._server.server_close()


class Browser:
    """Keeps cookies, and sends forms as they stand on a page."""

    def __init__(self, site: str) -> None:
        self._site = site
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        # This machine is never reached through a proxy of the environment.
        self._opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def get(self, path: str) -> str:
        with self._opener.open(self._site + path, timeout=PATIENCE) as answer:
            return str(answer.read().decode())

    def submit(self, path: str, **fields: str) -> str:
        """Fill in the form of the page at ``path``, send it, and return the page that comes."""
        page = self.get(path)
        hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))
        data = urllib.parse.urlencode({name: html.unescape(value) for name, value in hidden.items()} | fields).encode()
        with self._opener.open(self._site + path, data, timeout=PATIENCE) as answer:
            return str(answer.read().decode())


def text_of(page: str) -> str:
    """What the main part of a page says, one paragraph a line, without its buttons."""
    main = page.partition("<main>")[2].partition("</main>")[0]
    paragraphs = re.findall(r"<(?:p|li)\b[^>]*>(.*?)</(?:p|li)>", main, re.DOTALL)
    return "\n".join(" ".join(html.unescape(re.sub(r"<[^>]*>", "", item)).split()) for item in paragraphs)

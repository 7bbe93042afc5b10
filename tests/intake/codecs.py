"""A type of the tests' own, and codecs for it: what they do happens while the intake is at work, before its INSERT."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dsn_core import BaseCodec


class Odd:
    """What :func:`codec_that` is asked for."""


def codec_that(does: Callable[[], Any]) -> type[BaseCodec]:
    """A codec that encodes an :class:`Odd` by calling ``does``."""

    class OddCodec(BaseCodec):
        name = "odd"
        python_type = Odd

        def encode(self, value: Any) -> Any:
            return does()

        def decode(self, data: Any) -> Any:
            return data

    return OddCodec

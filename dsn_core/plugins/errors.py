"""Errors of plugins in one line, with the place in the plugin's source."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any, Final

import jinja2
from django.db import Error as DatabaseTrouble
from django.template.base import Node, Template

from dsn_core.masking import Mask, causes_of, said_by, unmasked

#: Characters of an error's text, so that the place after it is not cut off where it is stored.
_LONGEST: Final = 1_500
#: Packages whose frames are never the cause.
_OURS: Final = frozenset({"dsn_core", "importlib", "pluggy"})


def describe(error: BaseException) -> str:
    """An error in one line: its type and its text. For an error of the database, without its SQL."""
    said = said_by(error)
    lines = said.split("\n") if isinstance(error, DatabaseTrouble) else [said]
    text = " ".join(lines[0].split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def told(error: BaseException, owner: object = None, mask: Mask = unmasked) -> str:
    """:func:`describe` with the place in the source of ``owner``, or of the template.

    ``owner`` is a class or object of a plugin, or the name of its module.
    """
    text, place = mask(describe(error)), where(error, owner)
    text = text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
    return f"{text} ({place})" if place else text


def where(error: BaseException, owner: object = None) -> str:
    """File and line of the error, for the plugin's author; empty where none is known.

    For a template's error the line of the template; for source that cannot be parsed that line; else the deepest frame
    of the package of ``owner``, or of any package that is not ours.
    """
    chain = list(causes_of(error, hidden=False))
    for item in chain:
        if isinstance(item, SyntaxError) and item.filename:
            return _spelt(item.filename, item.lineno)
        if isinstance(item, jinja2.TemplateSyntaxError):
            return _spelt(item.filename or item.name or "<template>", item.lineno)
    frames = [frame for item in reversed(chain) for frame in traceback.walk_tb(item.__traceback__)]
    for frame, line in reversed(frames):
        if (place := _in_template(frame, line, chain)) is not None:
            return _spelt(*place)
    module = owner if isinstance(owner, str) else getattr(owner, "__module__", "") or ""
    places = [(_package(str(f.f_globals.get("__name__", ""))), f.f_code.co_filename, line) for f, line in frames]
    foreign = [item for item in places if item[0] not in _OURS]
    own = [item for item in foreign if item[0] == _package(module)]
    own = own or [item for item in foreign if "<frozen" not in item[1]]
    return _spelt(*own[-1][1:]) if own else ""


def _in_template(frame: FrameType, line: int, chain: list[BaseException]) -> tuple[str, int | None] | None:
    """The template's file and line, if ``frame`` renders or parses one."""
    compiled = frame.f_globals.get("__jinja_template__")
    if compiled is not None:
        return str(compiled.filename or compiled.name or "<template>"), compiled.get_corresponding_lineno(line)
    known: Any = frame.f_locals.get("self")
    # By its type, since any access to an object may raise.
    if issubclass(type(known), Node):
        token, origin = getattr(known, "token", None), getattr(known, "origin", None)
        if token is not None and origin is not None:
            return str(origin.name), token.lineno
    if issubclass(type(known), Template):
        tokens = [token for item in chain if (token := getattr(item, "token", None)) is not None]
        if tokens:
            return str(known.origin.name), tokens[0].lineno
    return None


def _package(module: str) -> str:
    return module.partition(".")[0]


def _spelt(filename: str, line: int | None) -> str:
    """``pager/messenger.py:41``: relative to the folder from which Python imports it."""
    folders = sorted((f"{Path(folder)}{os.sep}" for folder in sys.path if folder), key=len, reverse=True)
    short = next((filename[len(folder) :] for folder in folders if filename.startswith(folder)), filename)
    return short if line is None else f"{short}:{line}"

"""What a claim goes through before its messenger has it: filters, addresses, rendering. Plugins do all three."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db.utils import Error as DatabaseTrouble

from dsn_core._django import ThreadState
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.exceptions import ConfigurationError, UnknownName
from dsn_core.models import Delivery
from dsn_core.models.delivery import Status
from dsn_core.payload.private import refuse_sensitive
from dsn_core.pipeline import expiry, only_to
from dsn_core.pipeline.batch import SEND_AGAIN, Batch
from dsn_core.pipeline.locales import Locales
from dsn_core.pipeline.plugin_calls import put_back, reraise_interrupt, tidied
from dsn_core.pipeline.settling import Verdict
from dsn_core.plugins.loading import describe
from dsn_core.plugins.registry import registry


def apply_filters(batch: Batch) -> None:
    """End the rows that a receiver filter excludes."""
    for receiver_filter in registry.receiver_filters():
        rows = batch.open
        if not rows:
            return
        try:
            with tidied(f"receiver filter {receiver_filter.name!r}"):
                excluded = dict(receiver_filter.exclude(rows))
        except BaseException as error:
            reraise_interrupt(error)
            batch.end_open(
                Verdict(Status.RETRY, f"The receiver filter {receiver_filter.name!r} failed: {describe(error)}")
            )
            return
        for row in rows:
            if row.pk in excluded:
                batch.end(row, Status.SKIPPED, str(excluded[row.pk]))


def find_addresses(batch: Batch, messenger: BaseMessenger) -> None:
    """Set each user's address, all at once."""
    rows = [row for row in batch.open if row.user_id is not None]
    found = _addresses(batch, messenger, rows)
    if found is None:
        return
    for row in rows:
        row.address = found.get(row.user_id, "")
        if not row.address:
            batch.end(row, Status.SKIPPED, f"The user has no address for {messenger.alias}.")


def keep_to_listed(batch: Batch, messenger: BaseMessenger) -> None:
    """End the rows whose receivers ``DSN["ONLY_TO"]`` does not list."""
    if only_to.patterns() is None:
        return
    users = [row for row in batch.open if row.user_id is not None and not row.address]
    # Of a seed-style messenger, which looks for the addresses itself.
    found = _addresses(batch, messenger, users) or {}
    for row in batch.open:
        address = row.address or found.get(row.user_id, "")
        if not address and row.user_id is not None:
            address = only_to.email_of(row.user)
        if not only_to.is_listed(address):
            batch.end(row, Status.SKIPPED, f"{only_to.UNLISTED}{_why_unlisted(row, address)}.")


def _why_unlisted(row: Delivery, address: str) -> str:
    if address:
        return ""
    return ", who has no address to compare" if row.user_id is not None else ": it is nobody in particular"


def _addresses(batch: Batch, messenger: BaseMessenger, rows: Sequence[Delivery]) -> dict[Any, str] | None:
    """The addresses of the users of ``rows``, by key; None where none are needed, or they end the rows by an error."""
    if not rows or not messenger.needs_address:
        return None
    try:
        refuse_sensitive(messenger.path_to_address, get_user_model())
        with tidied(f"messenger {messenger.alias!r}"):
            given = messenger.addresses(list({row.user_id: row.user for row in rows}.values()))
            return {key: str(address) for key, address in given.items() if address}
    except BaseException as error:
        reraise_interrupt(error)
        status = Status.FAILED if isinstance(error, ConfigurationError) else Status.RETRY
        why = messenger.options.mask(describe(error))
        for row in rows:
            batch.end(row, status, f"The addresses of the users could not be found: {why}")
        return None


def render(batch: Batch) -> list[Message]:
    """Render the portion; a row that fails is its own failure. Returns the messages, with who gets them."""
    messages = []
    templates: dict[str, BaseMessageTemplate] = {}
    before = None
    # The portions before this one may have taken long.
    expiry.retire(batch, batch.portion)
    with Locales() as locales:
        for row in batch.portion:
            if row.id in batch.verdicts:
                continue
            if not batch.go_on():
                return []
            known = row._state.fields_cache
            name, activity, user = known["backend"].message_template, known["event"].activity, known.get("user")
            try:
                if name not in templates:
                    templates[name] = registry.message_template(name)
                if locales.switch(user) or before is None:
                    before = ThreadState()
                rendered = templates[name].render(user, activity.trigger_context, activity.signal_kwargs)
                message = addressed(rendered, row, user)
                batch.in_hand[message.id] = row
                messages.append(message)
            except UnknownName as error:
                batch.end(row, Status.FAILED, f"{error} {SEND_AGAIN}")
            except DatabaseTrouble as error:
                batch.end(row, Status.RETRY, f"Rendering {name!r} failed: {describe(error)}")
            except BaseException as error:
                reraise_interrupt(error)
                batch.end(row, Status.FAILED, f"Rendering {name!r} failed: {describe(error)}")
            finally:
                if before is not None:
                    put_back(before, f"message template {name!r}")
    return messages


def addressed(rendered: Any, row: Delivery, user: Any) -> Message:
    """``rendered`` as the message of this delivery. A template may return any text."""
    message = rendered if isinstance(rendered, Message) else Message(str(rendered))
    message.id, message.address, message.user = row.message_id, row.address, user
    return message

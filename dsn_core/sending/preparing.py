"""What a claim goes through before its messenger has it: filters, addresses, rendering. Plugins do all three."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from django.contrib.auth import get_user_model
from django.db.utils import Error as DatabaseTrouble

from dsn_core import conf
from dsn_core._thread_state import ThreadState
from dsn_core.contracts.messages import Message
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receivers import Hold
from dsn_core.contracts.templates import BaseMessageTemplate
from dsn_core.exceptions import ConfigurationError, ContractError, RenderingError
from dsn_core.masking import exc_info
from dsn_core.models import Delivery, Event
from dsn_core.models.delivery import Status
from dsn_core.payload.private import refuse_sensitive
from dsn_core.plugins.calls import put_back, reraise_interrupt, tidied
from dsn_core.plugins.errors import told
from dsn_core.plugins.registry import registry
from dsn_core.rendering.locales import Locales
from dsn_core.sending import addresses, only_to
from dsn_core.sending.batch import Batch
from dsn_core.sending.settling import Verdict

logger = logging.getLogger("dsn_core.sending")


def apply_filters(batch: Batch) -> None:
    """End the rows that a receiver filter excludes, and let those wait that one holds.

    All filters are asked about a row that is held: one that excludes it goes before, and the longest hold counts.
    """
    held: dict[int, Hold] = {}
    for receiver_filter in registry.receiver_filters():
        rows = batch.open
        if not rows:
            return
        try:
            with tidied(f"receiver filter {receiver_filter.name!r}"):
                # A list of its own: what the filter takes out of it is still to be decided about.
                answers = receiver_filter.exclude(list(rows))
                if not isinstance(answers, Mapping):
                    raise ContractError(
                        f"exclude() returned {type(answers).__name__}; it returns {{delivery.pk: reason}}, and an "
                        "empty dict where nothing is excluded (is its 'return' missing?)."
                    )
                excluded = dict(answers)
                if strange := set(excluded).difference(row.pk for row in rows):
                    raise ContractError(
                        f"exclude() named {len(strange)} that are no deliveries of the batch; it returns "
                        "{delivery.pk: reason}."
                    )
        except BaseException as error:
            reraise_interrupt(error)
            said = f"The receiver filter {receiver_filter.name!r} failed: {told(error, type(receiver_filter))}"
            logger.error("%s", said, exc_info=exc_info(error))
            batch.end_open(Verdict(Status.RETRY, said))
            return
        for row in rows:
            if row.pk not in excluded:
                continue
            answer = excluded[row.pk] or f"Excluded by the receiver filter {receiver_filter.name!r}."
            if not isinstance(answer, Hold):
                batch.end(row, Status.SKIPPED, str(answer))
            elif row.pk not in held or held[row.pk].until < answer.until:
                held[row.pk] = answer
    for row in batch.open if held else ():
        if row.pk in held:
            batch.postpone(row, held[row.pk])


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
        why = ""
        if not address and row.user_id is None:
            why = ": it names no receiver"
        elif not (address := address or only_to.email_of(row.user)):
            why = ", who has no address to compare"
        if not only_to.is_listed(address):
            batch.end(row, Status.SKIPPED, f"{only_to.UNLISTED}{why}.")


def _addresses(batch: Batch, messenger: BaseMessenger, rows: Sequence[Delivery]) -> dict[Any, str] | None:
    """The addresses of the users of ``rows``, by key; None where none are needed, or they end the rows by an error."""
    if not rows or not messenger.needs_address:
        return None
    said, mask = "The addresses of the users could not be found", messenger.options.mask
    try:
        refuse_sensitive(messenger.path_to_address, get_user_model())
        with tidied(f"messenger {messenger.alias!r}"):
            users = list({row.user_id: row.user for row in rows}.values())
            given = addresses.of_users(users, messenger, batch.using)
            return {key: str(address) for key, address in given.items() if address}
    except ConfigurationError as error:
        batch.hold(rows, f"{said}: {mask(str(error))}")
    except BaseException as error:
        reraise_interrupt(error)
        said = f"{said}: {told(error, type(messenger), mask)}"
        logger.error("The messenger %s: %s", messenger.alias, said, exc_info=exc_info(error, mask))
        for row in rows:
            batch.end(row, Status.RETRY, said)
    return None


def render(batch: Batch) -> list[Message]:
    """Render the portion; a row that fails is its own failure. Returns the messages, with their receivers."""
    messages = []
    templates: dict[str, BaseMessageTemplate] = {}
    before = None
    logged: set[str] = set()
    # The portions before this one may have taken long.
    batch.retire(batch.portion)
    limit = conf.current().MAX_MESSAGE_BYTES
    with tidied("message templates"), Locales() as locales:
        for row in batch.portion:
            if row.id in batch.verdicts:
                continue
            if not batch.go_on():
                return []
            known = row._state.fields_cache
            name, event, user = known["backend"].message_template, known["event"], known.get("user")
            activity = event.activity
            try:
                try:
                    if name not in templates:
                        templates[name] = registry.message_template(name)
                    has_switched = locales.switch(user)
                except ConfigurationError as error:
                    batch.hold([row], str(error))
                    continue
                if has_switched or before is None:
                    before = ThreadState()
                rendered: Any = templates[name].render(user, activity.trigger_context, activity.signal_kwargs)
                if not isinstance(rendered, str):
                    raise ContractError(
                        f"render() returned {type(rendered).__name__}; it returns a Message (is its 'return' missing?)."
                    )
                message = rendered if isinstance(rendered, Message) else Message(rendered)
                addressed(message, row, event, user, templates[name], limit)
                batch.in_hand[message.id] = row
                messages.append(message)
            except BaseException as error:
                reraise_interrupt(error)
                said = f"Rendering {name!r} failed: {told(error, templates.get(name))}"
                passes = isinstance(error, DatabaseTrouble | MemoryError)
                batch.end(row, Status.RETRY if passes else Status.FAILED, said)
                if said not in logged:
                    # Not for each of a hundred receivers.
                    logged.add(said)
                    logger.error("%s", said, exc_info=exc_info(error))
            finally:
                if before is not None and not before.looks_unchanged():
                    put_back(before, f"message template {name!r}")
    return messages


def addressed(
    message: Message, row: Delivery, event: Event, user: Any, template: BaseMessageTemplate, limit: int
) -> None:
    """Set whose message it is, and where it comes from.

    Raises :class:`~dsn_core.exceptions.RenderingError` if it has more than ``limit`` bytes.
    """
    # What most are surely below is not counted: a character takes four bytes at most.
    if 8 * (len(message) + len(message.html) + len(message.subject)) > limit and (size := message.size) > limit:
        raise RenderingError(
            f"The message has {size:,} bytes, and may have {limit:,}: one of its values is very large, or it repeats "
            "itself too often. Shorten it in the template, or raise DSN['MAX_MESSAGE_BYTES']."
        )
    message.id, message.address, message.user = row.message_id, row.address, user
    message.messenger, message.event = row.messenger, event.info
    message.topics = message.topics or tuple(template.topics)

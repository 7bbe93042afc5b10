"""The kinds of classes and objects that plugins register."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from dsn_core.contracts.codecs import BaseCodec
from dsn_core.contracts.messengers import BaseMessenger
from dsn_core.contracts.receivers import BaseReceiverFilter, BaseReceiverResolver
from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.contracts.runners import BaseRunner
from dsn_core.contracts.templates import BaseMessageTemplate


@dataclass(frozen=True)
class Kind:
    """One kind: its plural for lists, its singular for sentences, and the class that its hook returns."""

    plural: str
    singular: str
    base: type[Any]

    @property
    def hook(self) -> str:
        return f"dsn_{self.plural}"


MESSENGERS: Final = Kind("messengers", "messenger", BaseMessenger)
MESSAGE_TEMPLATES: Final = Kind("message_templates", "message template", BaseMessageTemplate)
RECEIVER_RESOLVERS: Final = Kind("receiver_resolvers", "receiver resolver", BaseReceiverResolver)
RECEIVER_FILTERS: Final = Kind("receiver_filters", "receiver filter", BaseReceiverFilter)
SIGNALS: Final = Kind("signals", "signal", SignalRegistration)
RUNNERS: Final = Kind("runners", "runner", BaseRunner)
CODECS: Final = Kind("codecs", "codec", BaseCodec)

KINDS: Final = (MESSENGERS, MESSAGE_TEMPLATES, RECEIVER_RESOLVERS, RECEIVER_FILTERS, SIGNALS, RUNNERS, CODECS)

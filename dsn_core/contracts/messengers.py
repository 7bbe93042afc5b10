"""Messengers: plugin classes that deliver rendered messages."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from django.core.checks import CheckMessage

from dsn_core.contracts.messages import Message
from dsn_core.contracts.naming import Named, not_overridden, overrides, require_override
from dsn_core.contracts.options import Options as AnyOptions
from dsn_core.contracts.paths import follow
from dsn_core.contracts.receipts import Receipt
from dsn_core.exceptions import ContractError

#: The arguments that ``send`` may take, by name.
SEND_ARGUMENTS: Final = ("template", "sender", "users", "trigger_context", "signal_kwargs")
#: The capabilities that a messenger can declare, and the method behind each.
CAPABILITIES: Final = {"sends_itself": "send", "finds_addresses": "addresses", "concurrent": "stop"}
#: All parts of a message.
PARTS: Final = ("subject", "text", "html")


class BaseMessenger(Named):
    """Delivers messages through one channel. Override one of two methods.

    **The usual way:** override :meth:`send_messages`. The pipeline renders and hands over batches; the messenger
    returns one :class:`~dsn_core.Receipt` per message::

        class PagerMessenger(BaseMessenger):
            \"\"\"Sends to the on-call pager.\"\"\"

            name = "pager"
            parts = ("text",)
            address_path = "profile.pager_number"

            def send_messages(self, messages):
                with pager.connect(timeout=self.options.TIMEOUT) as connection:
                    for message in messages:
                        try:
                            yield Receipt.sent(connection.send(message.address, message.text), message=message)
                        except pager.NoSuchNumber as error:
                            yield Receipt.invalid_address(str(error), message=message)

    **As in django-signal-notifier:** override :meth:`send`, which does everything: it renders, chooses among the
    users or other users, and sends.

    Register it with the ``dsn_messengers`` hook. One object per alias in ``DSN["MESSENGERS"]`` is
    made per claim; ``self.alias`` is that alias and ``self.options`` its typed options.
    """

    #: The parts of a message that it uses.
    parts: ClassVar[Sequence[str]] = PARTS
    #: How many messages one call of ``send_messages`` gets at most. ``send`` gets all users of an event at once unless
    #: its class sets this.
    batch_size: ClassVar[int] = 100
    #: The frozen dataclass of its options.
    Options: ClassVar[type[AnyOptions]] = AnyOptions
    #: Where a user's address is, as a path from the user, e.g. ``"profile.phone"``; ``"dsn_address"`` is the row that
    #: ``dsn_core.store_address`` writes. The setting ``DSN["ADDRESSES"]`` overrides it. Empty: users need no address
    #: (in-site, console), unless ``profile_field`` is set.
    address_path: ClassVar[str] = ""
    #: The field of the project's profile (``DSN["PROFILE_MODEL"]``) that holds a user's address, e.g. ``"phone"``,
    #: where neither the setting nor ``address_path`` says where it is. A project without such a profile or field needs
    #: none: the addresses are rows, as with ``address_path = "dsn_address"``.
    profile_field: ClassVar[str] = ""
    #: Whether a delivery whose outcome is unknown is tried again (and may arrive twice).
    retry_unknown: ClassVar[bool] = False
    # What it can do: the pipeline asks nothing else. The first two need no declaration: they are derived from the
    # methods when the class is made.

    #: Whether it works in the way of the specification, by :meth:`send`. True of a class that defines ``send``, unless
    #: it declares False: then its ``send`` is a helper of its own.
    sends_itself: ClassVar[bool] = False
    #: Whether :meth:`addresses` knows the users' addresses without a path. True of a class that defines ``addresses``,
    #: unless it declares False.
    finds_addresses: ClassVar[bool] = False
    #: Whether one call of ``send_messages`` has several messages under way, over as many connections as the option
    #: ``CONNECTIONS`` says. It then overrides :meth:`stop`. A worker calls any other one for ``CONNECTIONS`` batches at
    #: the same time, each in a thread of its own.
    concurrent: ClassVar[bool] = False
    _must_override = ("send_messages", "send")

    def __init_subclass__(cls, **kwargs: object) -> None:
        super().__init_subclass__(**kwargs)
        for capability in ("sends_itself", "finds_addresses"):
            method = CAPABILITIES[capability]
            # If the class next in line that has either of them has the method alone.
            nearest = next(parent for parent in cls.__mro__ if method in vars(parent) or capability in vars(parent))
            if capability not in vars(nearest):
                setattr(cls, capability, True)

    def __init__(self, alias: str = "", options: AnyOptions | None = None, address_path: str | None = None) -> None:
        self.alias = alias or self.name
        self.options: Any = self.Options() if options is None else options
        #: Where a user's address is: the path of ``DSN["ADDRESSES"]``, the class's, to the profile, or to the row.
        self.path_to_address = self.address_path if address_path is None else address_path

    @property
    def needs_address(self) -> bool:
        """Whether a user without an address cannot be reached."""
        return bool(self.path_to_address) or self.finds_addresses

    def addresses(self, users: Sequence[Any]) -> Mapping[Any, str]:
        """Return ``{user.pk: address}`` for those of ``users`` that have one.

        Called once per batch; the default follows the address path. Override it to fetch all addresses with one query.
        A user that is left out is *skipped*.
        """
        if not self.path_to_address:
            return {}
        found = {user.pk: follow(user, self.path_to_address, missing_key_is_none=True) for user in users}
        return {pk: str(address) for pk, address in found.items() if address not in (None, "")}

    def send_messages(self, messages: Sequence[Message]) -> Iterable[Receipt]:
        """Send ``messages`` and return (or yield) a receipt for each.

        A batch may mix events, templates and receivers. Receipts come in the order of the messages, or name their
        message. A message without a receipt is tried again. An exception is a retry for the messages without a
        receipt; it never reaches the code that fired the signal. A ``BaseException`` such as ``SystemExit`` makes them
        *unknown*. Every call of the provider must keep ``self.options.TIMEOUT``.

        Yield receipts rather than return a list: between two of them the worker renews its lease, and can stop (it
        then closes the generator).
        """
        raise not_overridden(self, "send_messages")

    def stop(self) -> None:
        """Begin no further message: the worker is stopping, or has lost its lease.

        For messengers that declare ``concurrent = True``. Called between two receipts, possibly more than once;
        ``send_messages`` then yields the receipts of the messages already begun, and ends. A messenger that is not
        concurrent is not asked for more receipts.
        """

    def send(
        self, template: Any, users: Sequence[Any], trigger_context: dict[str, Any], signal_kwargs: dict[str, Any]
    ) -> Any:
        """As in django-signal-notifier: called once per event and backend, with all its users (maybe none).

        Render with ``template.render(user=..., trigger_context=..., signal_kwargs=...)``, for any user, also one that
        is not in ``users``, and send. May be a class method, and may take ``sender``. When nothing is raised, each user
        for whom a message was rendered counts as *sent*; otherwise as *unknown*, and the others are tried again. When
        the lease was lost meanwhile, ``render`` raises a ``BaseException``: then send nothing more.
        """
        raise not_overridden(self, "send")

    @classmethod
    def check(cls, options: AnyOptions) -> list[CheckMessage]:
        """Return what is wrong with ``options``, for ``dsn_plugins`` and ``manage.py check --deploy``.

        May return None instead of an empty list. Called with options whose names and types are right. Make no network
        call here.
        """
        return []

    @classmethod
    def sets_batch_size(cls) -> bool:
        """Whether the class sets ``batch_size`` itself, even to the default."""
        return any("batch_size" in vars(base) for base in cls.__mro__[: cls.__mro__.index(BaseMessenger)])

    @classmethod
    def check_contract(cls) -> None:
        super().check_contract()
        where = f"{cls.__module__}.{cls.__qualname__}"
        for capability, method in CAPABILITIES.items():
            if getattr(cls, capability) and not overrides(cls, BaseMessenger, method):
                raise ContractError(f"{where} declares {capability} = True, and does not override {method}().")
        if overrides(cls, BaseMessenger, "stop") and not cls.concurrent:
            raise ContractError(
                f"{where} overrides stop(), which is called for concurrent messengers alone: those that have several "
                "messages under way in one call of send_messages(). Declare concurrent = True, or leave stop() out."
            )
        if not cls.sends_itself:
            require_override(cls, BaseMessenger, "send_messages")
        unknown = [part for part in cls.parts if part not in PARTS]
        if unknown or not cls.parts:
            raise ContractError(f"{where}.parts is {cls.parts!r}; it lists one or more of {', '.join(PARTS)}.")
        if not isinstance(cls.batch_size, int) or cls.batch_size < 1:
            raise ContractError(f"{where}.batch_size is {cls.batch_size!r}; it is a whole number from 1.")
        if not (isinstance(cls.Options, type) and issubclass(cls.Options, AnyOptions)):
            raise ContractError(f"{where}.Options is {cls.Options!r}; it is a subclass of dsn_core.Options.")
        if "__dataclass_fields__" not in vars(cls.Options):
            raise ContractError(
                f"{where}.Options ({cls.Options.__qualname__}) is no dataclass, so that its own options would not be "
                "seen. Write @dataclass(frozen=True, kw_only=True) above it."
            )
        if cls.sends_itself:
            _check_send_signature(cls, where)


def send_arguments(messenger: BaseMessenger) -> tuple[str, ...]:
    """Those of :data:`SEND_ARGUMENTS` that the messenger's ``send`` takes."""
    parameters = _parameters_of_send(type(messenger))
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return SEND_ARGUMENTS
    return tuple(name for name in SEND_ARGUMENTS if name in parameters)


def _parameters_of_send(cls: type[BaseMessenger]) -> Mapping[str, inspect.Parameter]:
    # Bound to an object, so that they are without self, whether it is a static, a class or another method.
    return inspect.signature(inspect.getattr_static(cls, "send").__get__(object(), cls)).parameters


def _check_send_signature(cls: type[BaseMessenger], where: str) -> None:
    strange = [
        name
        for name, parameter in _parameters_of_send(cls).items()
        if name not in SEND_ARGUMENTS
        and parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
    ]
    if strange:
        raise ContractError(
            f"{where}.send() asks for {', '.join(strange)}; "
            f"it can be given {', '.join(SEND_ARGUMENTS)}, by these names."
        )

"""The catalogue of signals: the registrations by verb."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from django.dispatch import Signal

from dsn_core.contracts.registrations import SignalRegistration
from dsn_core.exceptions import ConfigurationError, UnknownName
from dsn_core.signals import catalogue_changed


class Catalogue:
    """Signal registrations by verb. Filled by plugins, and by hand with :func:`register_signal`."""

    def __init__(self) -> None:
        self._by_name: dict[str, SignalRegistration] = {}
        self._from_plugins: set[str] = set()
        self._lock = threading.Lock()

    def add(self, registration: SignalRegistration, *, by_plugin: bool = False) -> SignalRegistration:
        """Add ``registration``, and return the registration that now has its name.

        Another signal under the same name is refused. A plugin's registration is kept: Django's signals can be
        registered by hand as well, as in django-signal-notifier, without losing it.
        """
        with self._lock:
            held = self._by_name.get(registration.name)
            if held is not None and held.signal is not registration.signal:
                raise ConfigurationError(
                    f"The verb {registration.name!r} is already the name of another signal; choose another name."
                )
            if held is not None and registration.name in self._from_plugins and not by_plugin:
                return held
            self._by_name = {**self._by_name, registration.name: registration}
            if by_plugin:
                self._from_plugins.add(registration.name)
        if held != registration:
            catalogue_changed.send(sender=type(self))
        return registration

    def remove(self, name: str) -> None:
        with self._lock:
            self._by_name = {key: value for key, value in self._by_name.items() if key != name}
            self._from_plugins.discard(name)
        catalogue_changed.send(sender=type(self))

    def find(self, name: str) -> SignalRegistration | None:
        return self._by_name.get(name)

    def get(self, name: str) -> SignalRegistration:
        """The registration of the verb ``name``. Raises :class:`~dsn_core.exceptions.UnknownName`."""
        if found := self._by_name.get(name):
            return found
        advice = "Register its signal with register_signal() or the dsn_signals hook."
        raise UnknownName("verb", name, self._by_name, advice=advice)

    def names(self) -> list[str]:
        return sorted(self._by_name)

    def __iter__(self) -> Iterator[SignalRegistration]:
        return iter(self._by_name.values())


catalogue = Catalogue()


def register_signal(
    name: str,
    signal: Signal,
    *,
    provides: Iterable[str] | None = None,
    action_object: str | None = None,
    actor_object: str | None = None,
    target: str | None = None,
    plain: Iterable[str] = (),
) -> SignalRegistration:
    """Register ``signal`` under the verb ``name``, e.g. in ``AppConfig.ready()``.

    ``provides`` lists the arguments it is sent with; None means that they are not known, and then a missing one refuses
    nothing. The next three name the arguments that are these parts; by default the action object is the argument
    ``instance``, else the sender, and the others are the arguments ``actor_object`` and ``target``. ``plain`` lists
    arguments whose names sound secret, such as ``token``, but which are stored because messages need them.

    The same registration may be repeated; another signal under the same name raises
    :class:`~dsn_core.exceptions.ConfigurationError`. An argument that ``provides`` does not list raises
    :class:`~dsn_core.exceptions.ContractError`.
    """
    return catalogue.add(SignalRegistration(name, signal, provides, action_object, actor_object, target, plain=plain))

"""The class of rebuilt instances: the model's own, with another ``__str__``."""

from __future__ import annotations

import contextlib
import functools
from typing import Any, Final

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model
from django.db.models.base import model_unpickle

from dsn_core import savepoints
from dsn_core.payload.placeholders import Placeholder

#: Where an instance holds the text that it had when it was deleted.
_KEPT: Final = "_dsn_text"
#: Characters of a text that is kept.
MAX_TEXT: Final = 1_000


class _Rebuilt:
    """Base before the model, so that the model's ``__init_subclass__`` is not called for classes made here.

    Without ``__slots__``: only classes with the same object layout can be exchanged.
    """

    def __init_subclass__(cls) -> None:
        pass

    def __str__(self) -> str:
        kept: str | None = vars(self).get(_KEPT)
        if kept is not None:
            return kept
        try:
            text: Any = super().__str__()
        except ObjectDoesNotExist:
            # It uses another row, which does not exist any more.
            return _model_and_key(self)
        # A placeholder's own error says more than Python's about a wrong type.
        return text.__str__() if isinstance(text, Placeholder) else text

    def __reduce__(self) -> Any:
        made: Any = super().__reduce__()
        return _again, *made[1:]


def become_rebuilt(instance: Model, text: str | None) -> None:
    """Give ``instance`` the class of rebuilt instances, and the stored text, if there is one."""
    with contextlib.suppress(TypeError):
        # A model with its own __slots__ keeps its class: Python cannot exchange it.
        instance.__class__ = _class_for(instance.__class__)
    if text is not None:
        vars(instance)[_KEPT] = text


@functools.lru_cache(maxsize=1_024)
def _class_for(model: type[Model]) -> type[Model]:
    own: dict[str, Any] = {"__module__": model.__module__, "__qualname__": model.__qualname__, "__doc__": model.__doc__}
    # instance.__class__ is the model.
    own["__class__"] = property(lambda instance: model)
    # Without the metaclass, which would register another model.
    return type.__new__(type(model), model.__name__, (_Rebuilt, model), own)


def _again(class_id: Any) -> Model:
    """For copies and pickles."""
    instance = model_unpickle(class_id)
    instance.__class__ = _class_for(type(instance))
    return instance


def _model_and_key(instance: Any) -> str:
    name, key = str(instance._meta.verbose_name), instance.pk
    return name if key is None or isinstance(key, Placeholder) else f"{name} {key}"


def text_of(instance: Model) -> str | None:
    """The text of an instance that is being deleted, while related rows still exist; None where there is none.

    Raises only errors that cost a transaction.
    """
    kept: str | None = vars(instance).get(_KEPT)
    if kept is not None:
        return kept
    try:
        with savepoints.matching_query():
            text = type(instance).__str__(instance)
    except BaseException as error:
        if savepoints.is_callers(error):
            raise
        return None
    return text if isinstance(text, str) and len(text) <= MAX_TEXT else None

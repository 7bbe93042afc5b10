"""Base classes of the admin classes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, ClassVar, TypeVar

from django.contrib import admin, messages
from django.contrib.admin.widgets import ForeignKeyRawIdWidget, ManyToManyRawIdWidget
from django.contrib.auth import get_permission_codename
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import ForeignKey, ManyToManyField, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dsn_core.admin import bulk
from dsn_core.admin.display import MAX_LISTED, bounded, change_link, excerpt, lasting
from dsn_core.admin.generic import ModelAdmin
from dsn_core.admin.widgets import SearchSelect, SearchSelectMultiple
from dsn_core.intake.record import outbox
from dsn_core.intake.storing import wake
from dsn_core.queue import environment, standstill

ModelT = TypeVar("ModelT", bound=Model)


class BaseAdmin(ModelAdmin[ModelT]):
    """Pages of bounded size, whatever the number of rows."""

    #: Models whose rows are deleted with ours, and the lookup that finds them.
    deleted_with: ClassVar[Sequence[tuple[type[Model], str]]] = ()
    #: Relations with a search box, where the other model's admin and the user's permissions allow it.
    searched: ClassVar[Sequence[str]] = ()
    #: Those of them that are otherwise given by key: a list of all users could be very long. Not ``raw_id_fields``,
    #: with which Django leaves out the links that add and show a row.
    given_by_key: ClassVar[Sequence[str]] = ()

    actions: Sequence[str] = ["delete_selected"]
    delete_confirmation_template = "dsn_core/admin/delete.html"

    class Media:
        css = {"all": ["dsn_core/admin.css"]}

    @admin.action(description=gettext_lazy("Delete selected %(verbose_name_plural)s"), permissions=["delete_selected"])
    def delete_selected(self, request: HttpRequest, queryset: QuerySet[ModelT]) -> HttpResponse | None:
        return bulk.delete_selected(self, request, queryset)

    def has_delete_selected_permission(self, request: HttpRequest) -> bool:
        """Whether the action is offered: a site may have removed it."""
        return bulk.delete_action(self) is not None and self.has_delete_permission(request)

    def deletion_notes(self, request: HttpRequest, rows: Sequence[ModelT] | QuerySet[ModelT]) -> Sequence[str]:
        """Notes on the confirmation page about rows that are not deleted, but affected."""
        return []

    def get_deleted_objects(
        self, objs: Sequence[ModelT] | QuerySet[ModelT], request: HttpRequest
    ) -> tuple[list[str], dict[str, int], set[str], list[str]]:
        """The names, up to a bound, and numbers for the confirmation page.

        Django's own loads every row, even a million deliveries of an event.
        """
        total = objs.count() if isinstance(objs, QuerySet) else len(objs)
        names = bounded([change_link(self.admin_site, row) for row in objs[:MAX_LISTED]], total)
        counts = {str(self.opts.verbose_name_plural): total}
        lacking = set() if self.has_delete_permission(request) else {str(self.opts.verbose_name)}
        for model, lookup in self.deleted_with:
            if number := model._default_manager.filter(**{lookup: objs}).count():
                counts[str(model._meta.verbose_name_plural)] = number
                other = self.admin_of(model)
                if other is not None and not other.has_delete_permission(request):
                    lacking.add(str(model._meta.verbose_name))
        return names, counts, lacking, []

    def render_change_form(self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        # The text of a trigger has all its conditions, too long for a heading.
        context["subtitle"] = excerpt(context.get("subtitle") or "")
        return super().render_change_form(request, context, *args, **kwargs)

    def render_delete_form(self, request: HttpRequest, context: dict[str, Any]) -> HttpResponse:
        notes = self.deletion_notes(request, [context["object"]])
        return super().render_delete_form(request, {**context, "notes": notes})

    def render_page(self, request: HttpRequest, template: str, title: object, **context: Any) -> TemplateResponse:
        """A page of its own that looks like the admin's."""
        request.current_app = self.admin_site.name
        page = {
            **self.admin_site.each_context(request),
            "title": title,
            "original": title,
            "subtitle": None,
            "opts": self.opts,
            "media": self.media,
            "request": request,
            "has_view_permission": True,
        }
        return TemplateResponse(request, f"dsn_core/admin/{template}.html", {**page, **context})

    def admin_of(self, model: type[Model]) -> Any:
        """The admin class of ``model``, or None when it is not in this admin."""
        return self.admin_site.get_model_admin(model) if self.admin_site.is_registered(model) else None

    def can_search(self, request: HttpRequest, name: str) -> bool:
        """Whether the model of the relation ``name`` is registered with search fields, and visible to the user."""
        other = self.admin_of(self.opts.get_field(name).related_model)  # type: ignore[arg-type]
        return other is not None and bool(other.get_search_fields(request)) and other.has_view_permission(request)

    def formfield_for_foreignkey(self, db_field: ForeignKey[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.searched and self.can_search(request, db_field.name):
            kwargs["widget"] = SearchSelect(db_field, self.admin_site)
        elif db_field.name in self.given_by_key:
            kwargs["widget"] = ForeignKeyRawIdWidget(db_field.remote_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: ManyToManyField[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.searched and self.can_search(request, db_field.name):
            kwargs["widget"] = SearchSelectMultiple(db_field, self.admin_site)
        elif db_field.name in self.given_by_key:
            kwargs["widget"] = ManyToManyRawIdWidget(db_field.remote_field, self.admin_site)
        return super().formfield_for_manytomany(db_field, request, **kwargs)


class ConfigurationAdmin(BaseAdmin[ModelT]):
    """For the models that operators configure."""

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        try:
            return super().changeform_view(request, *args, **kwargs)
        except (ValidationError, IntegrityError) as error:
            # The form was valid, but another user changed related rows meanwhile. All is rolled back.
            if request.method != "POST":
                raise
            reasons = error.messages if isinstance(error, ValidationError) else []
            text = _("Nothing was saved, because another user changed the same data. Check it, and try again.")
            self.message_user(request, " ".join([text, *reasons]), messages.ERROR)
            return HttpResponseRedirect(request.get_full_path())


class SwitchableAdmin(ConfigurationAdmin[ModelT]):
    """For rows that can be switched off, by actions, which also work for rows whose plugin is not installed."""

    actions = ["delete_selected", "enable", "disable"]

    @admin.action(description=gettext_lazy("Enable selected %(verbose_name_plural)s"), permissions=["change"])
    def enable(self, request: HttpRequest, queryset: QuerySet[ModelT]) -> None:
        self._switch(request, queryset, on=True)

    @admin.action(description=gettext_lazy("Disable selected %(verbose_name_plural)s"), permissions=["change"])
    def disable(self, request: HttpRequest, queryset: QuerySet[ModelT]) -> None:
        self._switch(request, queryset, on=False)

    def _switch(self, request: HttpRequest, queryset: QuerySet[ModelT], *, on: bool) -> None:
        rows = list(queryset.filter(enabled=not on))
        chosen = self.model._default_manager.filter(pk__in=[row.pk for row in rows])
        chosen.update(enabled=on, updated_at=timezone.now())
        for row in rows:
            self.log_change(request, row, [{"changed": {"fields": ["enabled"]}}])
        if on:
            text = ngettext("%d was enabled.", "%d were enabled.", len(rows))
        else:
            text = ngettext("%d was disabled.", "%d were disabled.", len(rows))
        self.message_user(request, text % len(rows), messages.SUCCESS)


class ReadOnlyAdmin(BaseAdmin[ModelT]):
    """For records of what happened, with a warning above their pages while nothing is sent."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: ModelT | None = None) -> bool:
        return False

    def has_operate_permission(self, request: HttpRequest) -> bool:
        """Whether the user may run the actions. These need the change permission, although the pages are read-only."""
        user: Any = request.user
        return bool(user.has_perm(f"{self.opts.app_label}.{get_permission_codename('change', self.opts)}"))

    def wake_runner(self) -> None:
        """Wake the runner, so that work that an action made due does not wait for the next event."""
        using = outbox()
        transaction.on_commit(functools.partial(wake, using), using=using, robust=True)

    def changelist_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self._alert(request)
        return super().changelist_view(request, *args, **kwargs)

    def change_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        self._alert(request)
        return super().change_view(request, *args, **kwargs)

    def _alert(self, request: HttpRequest) -> None:
        # A POST is answered by a redirect to a page with the warning.
        if request.method != "GET" or not self.has_view_permission(request):
            return
        if (mismatch := environment.find(outbox())) is not None:
            if not mismatch.remembered:
                text = _("Nothing is sent: the database has sent messages before it knew the environment %(setting)s.")
            elif mismatch.setting:
                text = _(
                    "Nothing is sent: the database belongs to the environment %(remembered)s, and this is %(setting)s."
                )
            else:
                text = _(
                    "Nothing is sent: the database belongs to the environment %(remembered)s, and this one has no name."
                )
            way_out = _("To send messages from here, run manage.py dsn_adopt.")
            self.message_user(request, f"{text % vars(mismatch)} {way_out}", messages.WARNING)
        if (found := standstill.find(outbox())) is not None:
            late = _("Messages have been waiting for %(time)s, and nothing is sent.") % {"time": lasting(found.late)}
            unseen = _("No worker was ever seen.")
            if found.unseen is not None:
                unseen = _("No worker was seen for %(time)s.") % {"time": lasting(found.unseen)}
            self.message_user(request, f"{late} {unseen}", messages.WARNING)

"""Django's classes that are generic only for type checkers: here ``ModelAdmin[Trigger]`` also works at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import admin

if TYPE_CHECKING:
    ModelAdmin = admin.ModelAdmin
    TabularInline = admin.TabularInline
    ModelForm = forms.ModelForm
    BaseInlineFormSet = forms.BaseInlineFormSet
else:

    class _Generic:
        def __class_getitem__(cls, item: Any) -> Any:
            return cls

    class ModelAdmin(_Generic, admin.ModelAdmin): ...

    class TabularInline(_Generic, admin.TabularInline): ...

    class ModelForm(_Generic, forms.ModelForm): ...

    class BaseInlineFormSet(_Generic, forms.BaseInlineFormSet): ...

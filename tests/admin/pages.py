"""Reading and filling in the pages of the admin."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import Any

from django.urls import reverse


def url(model: type[Any], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def text(response: Any) -> str:
    """What a person reads on a page: no tags, entities decoded, spaces squeezed."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", response.content.decode())).split())


def options(response: Any, field: str) -> dict[str, str]:
    """The options of a select: value to label."""
    select = re.search(rf'<select name="{field}".*?</select>', response.content.decode(), re.DOTALL)
    assert select, f"there is no select {field}"
    return {
        html.unescape(value): html.unescape(label)
        for value, label in re.findall(r'<option value="([^"]*)"[^>]*>([^<]*)</option>', select[0])
    }


def errors(response: Any) -> dict[str, str]:
    """The errors of a refused form: by field, and by prefix-and-field for inline forms."""
    assert response.status_code == 200, f"the form was not shown again: {response.status_code}"
    form = response.context["adminform"].form
    found = {name: " ".join(list_) for name, list_ in form.errors.items()}
    for formset in response.context["inline_admin_formsets"]:
        for inline in formset.formset.forms:
            found |= {f"{inline.prefix}-{name}": " ".join(list_) for name, list_ in inline.errors.items()}
        if formset.formset.non_form_errors():
            found[formset.formset.prefix] = " ".join(formset.formset.non_form_errors())
    return found


TRIGGER: Mapping[str, Any] = {
    "verb": "",
    "action_object_model": "",
    "action_object_pk": "",
    "actor_object_model": "",
    "actor_object_pk": "",
    "target": "",
    "enabled": "on",
}


def conditions(*rows: tuple[str, str, str] | str) -> dict[str, str]:
    """The POST data of rows of conditions; a single text is the box of what code stored."""
    data = {}
    for number, row in enumerate(rows):
        boxes = {"stored": row} if isinstance(row, str) else dict(zip(("path", "operator", "value"), row, strict=True))
        data |= {f"conditions-{number}-{part}": text for part, text in boxes.items()}
    return data


def shown_conditions(response: Any) -> dict[str, str]:
    """What stands in the boxes of the conditions, as a browser would send it: those that are not empty."""
    content = response.content.decode()
    found = dict(re.findall(r'<input type="text"[^>]* name="(conditions-\d+-\w+)" value="([^"]*)"', content))
    found |= dict(re.findall(r'<textarea name="(conditions-\d+-\w+)"[^>]*>\n(.*?)</textarea>', content, re.DOTALL))
    for name, select in re.findall(r'<select name="(conditions-\d+-operator)"(.*?)</select>', content, re.DOTALL):
        found |= {name: "".join(re.findall(r'value="([^"]*)"[^>]* selected', select))}
    return {name: html.unescape(text) for name, text in found.items() if text}


def refused_conditions(response: Any) -> dict[int, str]:
    """What is said at which row, counted from 0."""
    lists = re.findall(r'id="conditions-(\d+)-refused">(.*?)</ul>', response.content.decode(), re.DOTALL)
    return {int(number): html.unescape(re.sub(r"<[^>]+>", " ", items)).strip() for number, items in lists}


def addresses(*rows: tuple[str, str], stored: int = 0, **more: Any) -> dict[str, Any]:
    """The POST data of the inline of bare addresses."""
    data: dict[str, Any] = {"addresses-TOTAL_FORMS": len(rows), "addresses-INITIAL_FORMS": stored}
    for number, (messenger, address) in enumerate(rows):
        data |= {f"addresses-{number}-messenger": messenger, f"addresses-{number}-address": address}
    return data | more


def asked(response: Any) -> dict[str, list[str]]:
    """What the page that asks sends back when its button is pressed and nothing was ticked or unticked."""
    assert response.status_code == 200, f"it did not ask: {response.status_code}"
    found: dict[str, list[str]] = {}
    form = response.content.decode().partition('<div id="content-main">')[2]
    for tag in re.findall(r"<input [^>]*>", form):
        attributes = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if attributes["type"] == "hidden" or (attributes["type"] == "checkbox" and " checked" in tag):
            found.setdefault(attributes["name"], []).append(html.unescape(attributes["value"]))
    return found


def answer(client: Any, address: str, data: Mapping[str, Any], **changed: Any) -> Any:
    """Call an action, answer what it asks, but for what is ``changed``, and follow."""
    return client.post(address, {**asked(client.post(address, data)), **changed}, follow=True)

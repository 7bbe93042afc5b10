from typing import Any

import django.db.models.deletion
from django.db import migrations, models

import dsn_core.models.sparse
from dsn_core.models.clock import DatabaseNow

#: Percent of a block that INSERTs fill, so that each row finds room in its block when it is settled: its new version
#: is then found by the old one, and no index is written (HOT).
FILLFACTOR = 50


def leave_room(apps: Any, schema_editor: Any) -> None:
    _execute(schema_editor, f"SET (fillfactor = {FILLFACTOR})")


def fill_up(apps: Any, schema_editor: Any) -> None:
    _execute(schema_editor, "RESET (fillfactor)")


def _execute(schema_editor: Any, change: str) -> None:
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE {schema_editor.quote_name('dsn_core_delivery')} {change}")


def break_up_pages(apps: Any, schema_editor: Any) -> None:
    """What waits in pages is due by itself: the version before knows no pages."""
    rows = apps.get_model("dsn_core", "Delivery")._base_manager.using(schema_editor.connection.alias)
    waiting = rows.filter(page_key__isnull=False, status="pending", not_before__isnull=True)
    waiting.update(not_before=DatabaseNow(), page_key=None)


class Migration(migrations.Migration):
    """Deliveries may wait in pages. Processes of the version before write no page, and never see what waits in one."""

    dependencies = [
        ("dsn_core", "0008_pauses_and_holds"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeliveryPage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "event",
                    models.ForeignKey(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="dsn_core.event",
                        verbose_name="event",
                    ),
                ),
                ("messenger", models.CharField(max_length=100, verbose_name="messenger")),
                (
                    "priority",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "high"), (1, "normal"), (2, "low")], default=1, verbose_name="priority"
                    ),
                ),
                ("key", models.BigIntegerField()),
                ("first_id", models.BigIntegerField()),
                ("last_id", models.BigIntegerField()),
                ("not_before", models.DateTimeField(verbose_name="not before")),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True, verbose_name="lease")),
            ],
            options={
                "verbose_name": "page of deliveries",
                "verbose_name_plural": "pages of deliveries",
                "indexes": [
                    models.Index(fields=["messenger", "priority", "not_before", "id"], name="dsn_page_claim"),
                ],
            },
        ),
        migrations.AddField(
            model_name="delivery",
            name="page_key",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AlterField(
            model_name="delivery",
            name="not_before",
            field=models.DateTimeField(
                blank=True,
                help_text="When it may be worked on; the end of the lease while a worker holds it; empty when finished, and while it waits in a page of deliveries that are claimed together.",
                null=True,
                verbose_name="not before",
            ),
        ),
        # By hand: of a class that says which rows it holds.
        migrations.RemoveIndex(model_name="delivery", name="dsn_delivery_claim"),
        migrations.AddIndex(
            model_name="delivery",
            index=dsn_core.models.sparse.DueIndex(
                fields=["messenger", "priority", "not_before", "id"], name="dsn_delivery_claim"
            ),
        ),
        migrations.RunPython(leave_room, fill_up),
        migrations.RunPython(migrations.RunPython.noop, break_up_pages),
    ]

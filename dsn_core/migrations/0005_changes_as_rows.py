from django.db import migrations, models

TABLE = "dsn_core_configurationversion"


class Migration(migrations.Migration):
    """The table keeps its name and columns, and gets new ones that may be empty.

    Processes of the version before, which know its row of key 1 only, go on reading and writing it.
    """

    dependencies = [
        ("dsn_core", "0004_sparse_indexes"),
    ]

    operations = [
        # With a name of its own, the table is not renamed along with the model, nor the column with the field.
        migrations.AlterModelTable(name="configurationversion", table=TABLE),
        migrations.RenameModel("ConfigurationVersion", "ConfigurationChange"),
        migrations.AlterField(
            model_name="configurationchange",
            name="number",
            field=models.BigIntegerField(db_column="number", verbose_name="token"),
        ),
        migrations.RenameField(model_name="configurationchange", old_name="number", new_name="token"),
        migrations.AlterModelOptions(
            name="configurationchange",
            options={"verbose_name": "configuration change", "verbose_name_plural": "configuration changes"},
        ),
        migrations.AddField(
            model_name="configurationchange",
            name="trigger_ids",
            field=models.JSONField(blank=True, help_text="Their ids. Empty: any.", null=True, verbose_name="triggers"),
        ),
        migrations.AddField(
            model_name="configurationchange",
            name="pruned",
            field=models.JSONField(
                blank=True,
                help_text="The tokens of the older changes that this one replaced.",
                null=True,
                verbose_name="pruned",
            ),
        ),
        migrations.AddField(
            model_name="configurationchange",
            name="created_at",
            field=models.DateTimeField(blank=True, null=True, verbose_name="created"),
        ),
    ]

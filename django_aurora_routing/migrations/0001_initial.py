"""The table of commit tokens, empty until `retry_on_failover(exactly_once=True)` is used."""

from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    dependencies = []
    operations = [
        migrations.CreateModel(
            name="CommitToken",
            fields=[
                ("token", models.CharField(max_length=32, primary_key=True, serialize=False)),
                ("made", models.BigIntegerField(db_index=True)),
                ("is_claim", models.BooleanField()),
            ],
            options={"db_table": "aurora_routing_committoken"},
        ),
    ]

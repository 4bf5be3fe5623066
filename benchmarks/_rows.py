"""The one table that is read and written; the same columns for each contender, whoever would have made them how."""

from __future__ import annotations

import functools
from typing import Any

TABLE = "benchmark_row"
CREATE_TABLE = f"""
CREATE OR REPLACE TABLE {TABLE} (
    id BIGINT AUTO_INCREMENT PRIMARY KEY,
    token CHAR(32) NOT NULL,
    name VARCHAR(100) NOT NULL,
    price DECIMAL(9, 2) NOT NULL,
    quantity INT NOT NULL,
    made DATETIME(6) NOT NULL,
    KEY (token)
)
"""  # nothing stops a token from being there twice, so a doubled write is seen


@functools.cache
def row_model() -> Any:
    """The table as a model. A class of a model can be made only once Django is set up; an app it needs not."""
    from django.db import models

    class Row(models.Model):  # noqa: DJ008 - nobody prints it
        id = models.BigAutoField(primary_key=True)
        token = models.CharField(max_length=32)
        name = models.CharField(max_length=100)
        price = models.DecimalField(max_digits=9, decimal_places=2)
        quantity = models.IntegerField()
        made = models.DateTimeField()

        class Meta:
            app_label = "benchmarks"
            db_table = TABLE
            managed = False

    return Row

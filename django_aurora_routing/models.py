"""The one table of this package, for `retry_on_failover(exactly_once=True)`. Nothing else reads or writes it."""

from __future__ import annotations

from django.db import models

from .retries.tokens import TABLE


class CommitToken(models.Model):
    """A transaction that was committed, or one that never may be."""

    token: models.CharField[str, str] = models.CharField(max_length=32, primary_key=True)
    made: models.BigIntegerField[int, int] = models.BigIntegerField(db_index=True)
    """By the application's clock, in seconds since 1970."""
    is_claim: models.BooleanField[bool, bool] = models.BooleanField()
    """Written by who asked whether the transaction was committed, when it was not."""

    class Meta:
        db_table = TABLE

    def __str__(self) -> str:
        return f"{self.token} ({'never committed' if self.is_claim else 'committed'})"

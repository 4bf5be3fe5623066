"""The tables of the bank. No name is unique in them, so that what is written twice is there twice."""

from __future__ import annotations

from django.db import models


class Account(models.Model):
    balance = models.IntegerField()

    class Meta:
        app_label = "chaos"

    def __str__(self) -> str:
        return f"{self.pk}: {self.balance}"


class Transfer(models.Model):
    """Written in the transaction that moves the money."""

    name = models.CharField(max_length=40)
    payer = models.IntegerField()
    payee = models.IntegerField()
    amount = models.IntegerField()

    class Meta:
        app_label = "chaos"

    def __str__(self) -> str:
        return self.name


class Receipt(models.Model):
    """Written by itself, in autocommit."""

    name = models.CharField(max_length=40)

    class Meta:
        app_label = "chaos"

    def __str__(self) -> str:
        return self.name


class Page(models.Model):
    """One for each thread, which alone writes it, and only ever a higher number."""

    version = models.IntegerField(default=0)

    class Meta:
        app_label = "chaos"

    def __str__(self) -> str:
        return f"{self.pk}: {self.version}"

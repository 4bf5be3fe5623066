"""Two related models. They belong to no installed app: the fixtures make their tables where a test wants them."""

from __future__ import annotations

from django.db import models


class Author(models.Model):
    name = models.CharField(max_length=50)

    class Meta:
        app_label = "routing_tests"

    def __str__(self) -> str:
        return self.name


class Book(models.Model):
    title = models.CharField(max_length=50)
    author = models.ForeignKey(Author, models.CASCADE, related_name="books")

    class Meta:
        app_label = "routing_tests"

    def __str__(self) -> str:
        return self.title

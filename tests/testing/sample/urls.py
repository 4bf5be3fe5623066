"""GET names the items; POST adds one, and then names them."""

from __future__ import annotations

from django.db import transaction
from django.http import HttpRequest, JsonResponse
from django.urls import path

from .models import Item


def items(request: HttpRequest) -> JsonResponse:
    if request.method == "POST":
        with transaction.atomic():
            Item.objects.create(name="posted")
    found = list(Item.objects.order_by("pk"))
    return JsonResponse({"names": [str(item) for item in found], "aliases": sorted({str(i._state.db) for i in found})})


urlpatterns = [path("", items)]

"""The shop's one page: what there is to buy, what was bought, and which database instance said so."""

from __future__ import annotations

import uuid

from django.contrib import messages
from django.db import router
from django.db.models import Prefetch
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST

from .instances import instance_name
from .models import Order, OrderLine, Product
from .orders import OutOfStock, place_order


def index(request: HttpRequest) -> HttpResponse:
    lines = OrderLine.objects.select_related("product")
    products = list(Product.objects.select_related("stock"))
    for product in products:
        product.order_number = uuid.uuid4()  # a form sent twice is one order
    return render(
        request,
        "shop/index.html",
        {
            "products": products,
            "orders": Order.objects.prefetch_related(Prefetch("lines", lines))[:8],
            "read_alias": router.db_for_read(Product),
            "read_from": instance_name(router.db_for_read(Product)),
        },
    )


@require_POST
def buy(request: HttpRequest) -> HttpResponse:
    customer = request.POST.get("customer", "").strip()[:120] or "Somebody"
    try:
        number = uuid.UUID(request.POST.get("number", ""))
        order = place_order(customer, {request.POST.get("sku", ""): 1}, number)
    except (OutOfStock, Product.DoesNotExist, ValueError) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"Thank you, {order.customer}. The order was written by {order.written_by}.")
    return redirect("shop:index")

from django.conf import settings
from django.contrib import admin

from django_aurora_routing.admin import MultiDBAdminSite

from .models import Delivery, Order, OrderLine, Product, Stock


class StockInline(admin.TabularInline):
    model = Stock
    can_delete = False


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["sku", "name", "price", "stock"]
    list_select_related = ["stock"]
    search_fields = ["sku", "name"]
    save_as = True
    inlines = [StockInline]


class OrderLineInline(admin.TabularInline):
    model = OrderLine
    autocomplete_fields = ["product"]
    extra = 1


@admin.register(Order)
class OrderAdmin(admin.ModelAdmin):
    list_display = ["number", "customer", "placed_at", "written_by"]
    date_hierarchy = "placed_at"
    readonly_fields = ["number", "placed_at", "written_by"]
    inlines = [OrderLineInline]


@admin.register(Delivery)
class DeliveryAdmin(admin.ModelAdmin):
    list_display = ["reference", "product", "quantity", "recorded_at"]
    list_select_related = ["product"]
    autocomplete_fields = ["product"]


# The same pages for the database beside the cluster, if there is one: /external-admin/
external = MultiDBAdminSite("external") if "external" in settings.DATABASES else None
if external is not None:
    external.register(Product, ProductAdmin)
    external.register(Order, OrderAdmin)
    external.register(Delivery, DeliveryAdmin)

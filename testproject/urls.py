from django.contrib import admin
from django.urls import include, path

from testproject.shop.admin import external

urlpatterns = [
    path("admin/", admin.site.urls),
    path("", include("testproject.shop.urls")),
]
if external is not None:
    urlpatterns.insert(0, path("external-admin/", external.urls))

from django.apps import AppConfig


class LibraryConfig(AppConfig):
    name = "tests.admin"
    label = "library"
    default_auto_field = "django.db.models.BigAutoField"

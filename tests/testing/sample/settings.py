"""SAMPLE_DATABASES has the databases as JSON."""

import json
import os

DATABASES = json.loads(os.environ["SAMPLE_DATABASES"])
DATABASE_ROUTERS = [
    "django_aurora_routing.routers.DynamicDbRouter",
    "django_aurora_routing.routers.ReadWriteRouter",
]
AURORA_ROUTING = {"CLUSTERS": {"default": {"writer": "default", "readers": ["reader"]}}}
INSTALLED_APPS = ["django_aurora_routing", "tests.testing.sample"]
ROOT_URLCONF = "tests.testing.sample.urls"
SECRET_KEY = "sample"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
STATIC_URL = "static/"
MEDIA_URL = "media/"

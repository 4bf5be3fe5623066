"""How Sphinx builds these pages: `make docs`."""

project = "django-aurora-routing"
author = "django_aurora_routing contributors"
copyright = author
release = version = "0.1"

exclude_patterns = ["_build"]
html_theme = "furo"
html_title = "django-aurora-routing"
highlight_language = "python"
nitpicky = True

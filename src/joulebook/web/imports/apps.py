"""The app's name and label for Django."""

from django.apps import AppConfig


class ImportsConfig(AppConfig):
    name = "joulebook.web.imports"
    label = "imports"

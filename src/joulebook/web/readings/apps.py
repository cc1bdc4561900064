"""The app's name and label for Django."""

from django.apps import AppConfig


class ReadingsConfig(AppConfig):
    name = "joulebook.web.readings"
    label = "readings"

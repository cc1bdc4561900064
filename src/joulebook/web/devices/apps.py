"""The app's name and label for Django."""

from django.apps import AppConfig


class DevicesConfig(AppConfig):
    name = "joulebook.web.devices"
    label = "devices"

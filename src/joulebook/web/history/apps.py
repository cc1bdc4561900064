"""The app's name and label for Django."""

from django.apps import AppConfig


class HistoryConfig(AppConfig):
    name = "joulebook.web.history"
    label = "history"

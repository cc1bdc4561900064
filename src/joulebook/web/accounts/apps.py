"""The app's name and label for Django."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "joulebook.web.accounts"
    label = "accounts"

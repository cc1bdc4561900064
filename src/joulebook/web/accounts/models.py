"""A user's profile and the tokens of a user's scripts. The user itself is Django's own."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from joulebook.web.time_zones import validate_time_zone
from joulebook.web.tokens import Token


class Profile(models.Model):
    """A user's display name, time zone and theme."""

    class Theme(models.TextChoices):
        SYSTEM = "system", "theme of the system"
        LIGHT = "light", "light"
        DARK = "dark", "dark"

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="profile")
    display_name = models.CharField(max_length=150, blank=True)
    time_zone = models.CharField(max_length=64, default="UTC", validators=[validate_time_zone])
    theme = models.CharField(max_length=8, choices=Theme.choices, default=Theme.SYSTEM)

    def __str__(self) -> str:
        return self.display_name or self.user.get_username()


class SignInFailures(models.Model):
    """The number of wrong passwords for a name or from an address since a moment."""

    key = models.CharField(max_length=120, unique=True)
    count = models.PositiveIntegerField()
    since = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.key}: {self.count}"


class UserToken(Token):
    """Lets a script read as this user, with `Authorization: Bearer …`."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="tokens")

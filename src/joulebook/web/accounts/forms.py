"""The forms of an account: signing in, and one's profile."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm
from django.core.exceptions import ValidationError

from joulebook.time_zones import time_zone_names
from joulebook.web.accounts import throttle
from joulebook.web.accounts.models import Profile

_REGIONS = frozenset(
    [
        "Africa",
        "America",
        "Antarctica",
        "Arctic",
        "Asia",
        "Atlantic",
        "Australia",
        "Europe",
        "Indian",
        "Pacific",
    ]
)


class SignInForm(AuthenticationForm):
    """User name and password; refuses after too many wrong ones, for any name alike."""

    error_messages = {
        "invalid_login": "The user name or the password is not right. Both are case-sensitive.",
        "inactive": "The user name or the password is not right. Both are case-sensitive.",
        "throttled": "Too many wrong passwords. Wait 15 minutes, then try again.",
    }
    is_throttled = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.fields["username"].label = "User name"
        self.fields["username"].widget.attrs["spellcheck"] = "false"

    def clean(self) -> dict[str, Any]:
        """Check the password, unless there were too many wrong ones before."""
        name = self.cleaned_data.get("username") or self.data.get("username", "")
        address = self.request.META.get("REMOTE_ADDR", "") if self.request else ""
        if throttle.is_throttled(name, address):
            self.is_throttled = True
            raise ValidationError(self.error_messages["throttled"], code="throttled")
        try:
            cleaned = super().clean()
        except ValidationError:
            throttle.count_failure(name, address)
            raise
        if self.user_cache is not None:
            throttle.forget_failures(name, address)
        return cleaned


class ProfileForm(forms.ModelForm[Profile]):
    """What a user says about themselves."""

    time_zone = forms.ChoiceField(
        help_text="Offered beside each device's own zone when you look at its chart."
    )

    class Meta:
        model = Profile
        fields = ("display_name", "time_zone", "theme")
        widgets = {"theme": forms.RadioSelect}
        help_texts = {"display_name": "Shown in place of your user name."}

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        field = self.fields["time_zone"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
        field.choices = time_zone_choices(self.instance.time_zone)


def time_zone_choices(current: str) -> list[tuple[str, Any]]:
    """Return the zones to choose from, by region; `current` is among them whatever it is."""
    names = sorted(name for name in time_zone_names() if name.partition("/")[0] in _REGIONS)
    groups: list[tuple[str, Any]] = [("UTC", "UTC")]
    if current != "UTC" and current not in names:
        groups.append((current, current))
    for region, members in groupby(names, key=lambda name: name.partition("/")[0]):
        groups.append((region, [(name, name.partition("/")[2].replace("_", " ")) for name in members]))
    return groups

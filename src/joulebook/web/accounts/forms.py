"""The forms of an account: signing in, a new password, and one's profile."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from django import forms
from django.contrib.auth.forms import AdminPasswordChangeForm, AuthenticationForm, PasswordChangeForm
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.db import transaction

from joulebook.time_zones import time_zone_names
from joulebook.web.accounts import throttle
from joulebook.web.accounts.models import Profile
from joulebook.web.accounts.operations import revoke_user_tokens

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

_TOO_MANY = "Too many wrong passwords. Wait 15 minutes, then try again."


class SignInForm(AuthenticationForm):
    """User name and password; refuses after too many wrong ones, for any name alike."""

    error_messages = {
        "invalid_login": "The user name or the password is not right. Both are case-sensitive.",
        "inactive": "The user name or the password is not right. Both are case-sensitive.",
    }
    is_throttled = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""
        self.fields["username"].label = "User name"
        self.fields["username"].widget.attrs["spellcheck"] = "false"

    def clean(self) -> dict[str, Any]:
        """Check the password, unless there were too many wrong ones before."""
        limits = throttle.sign_in_limits(
            self.request, self.cleaned_data.get("username") or self.data.get("username", "")
        )
        if throttle.is_throttled(limits):
            self.is_throttled = True
            raise ValidationError(_TOO_MANY, code="throttled")
        try:
            cleaned = super().clean()
        except ValidationError:
            throttle.count_failure(limits)
            raise
        if self.user_cache is not None:
            throttle.forget_failures(limits)
        return cleaned


class PasswordForm(PasswordChangeForm):
    """A new password after the old one; refuses after too many wrong old ones."""

    keep_tokens = forms.BooleanField(
        required=False,
        label="Keep my tokens",
        help_text="Scripts with your tokens continue. Leave it off if your password may be known.",
    )
    is_throttled = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.label_suffix = ""

    def clean_old_password(self) -> str:
        """Check the old password, unless there were too many wrong ones before."""
        limits = throttle.old_password_limits(self.user)
        if throttle.is_throttled(limits):
            self.is_throttled = True
            raise ValidationError(_TOO_MANY, code="throttled")
        try:
            password: str = super().clean_old_password()
        except ValidationError:
            throttle.count_failure(limits)
            raise
        throttle.forget_failures(limits)
        return password

    def save(self, commit: bool = True) -> User:
        """Store the password and revoke the user's tokens, unless they stay."""
        with transaction.atomic():
            user = super().save(commit)
            if not self.cleaned_data["keep_tokens"]:
                revoke_user_tokens(user)
        return user


class ForeignPasswordForm(AdminPasswordChangeForm):  # type: ignore[type-arg]  # generic in its stubs only
    """Another user's password, in the admin: their tokens end with the old one."""

    def save(self, commit: bool = True) -> User:
        """Store the password and revoke the user's tokens."""
        with transaction.atomic():
            user: User = super().save(commit)
            revoke_user_tokens(user)
        return user


class ProfileForm(forms.ModelForm[Profile]):
    """A user's display name, time zone and theme."""

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
    """Return the zones to choose from, by region, always with `current`."""
    names = sorted(name for name in time_zone_names() if name.partition("/")[0] in _REGIONS)
    groups: list[tuple[str, Any]] = [("UTC", "UTC")]
    if current != "UTC" and current not in names:
        groups.append((current, current))
    for region, members in groupby(names, key=lambda name: name.partition("/")[0]):
        groups.append((region, [(name, name.partition("/")[2].replace("_", " ")) for name in members]))
    return groups

"""Accounts in the admin."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import UserAdmin
from django.contrib.auth.models import User

from joulebook.web.accounts.forms import ForeignPasswordForm
from joulebook.web.accounts.models import Profile, UserToken
from joulebook.web.tokens import TokenAdmin


class ProfileInline(admin.StackedInline[Profile, User]):
    """The profile on its user's page."""

    model = Profile
    can_delete = False


class UserWithProfileAdmin(UserAdmin[User]):
    """Django's own page of a user, with the profile below."""

    inlines = (ProfileInline,)
    change_password_form = ForeignPasswordForm


admin.site.unregister(User)
admin.site.register(User, UserWithProfileAdmin)


@admin.register(UserToken)
class UserTokenAdmin(TokenAdmin):
    """Tokens of users' scripts: listed and revoked here, created by command."""

    list_display = ("prefix", "user", "created_at", "last_used_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("prefix", "user__username")

"""Template tags for the signed-in user."""

from __future__ import annotations

from django import template
from django.contrib.auth.models import User
from django.template import RequestContext

from joulebook.web.accounts.models import Profile
from joulebook.web.accounts.operations import profile_of

register = template.Library()


@register.simple_tag(takes_context=True)
def profile(context: RequestContext) -> Profile | None:
    """Return the user's profile, with their theme; None without a signed-in user or a request."""
    user = context.get("user")
    return profile_of(user) if isinstance(user, User) and user.is_active else None

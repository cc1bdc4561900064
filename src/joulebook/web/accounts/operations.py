"""Changes of accounts: new users, passwords, tokens of scripts; and the check of these tokens."""

from __future__ import annotations

from datetime import timedelta

from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils import timezone

from joulebook.web.accounts.models import Profile, UserToken
from joulebook.web.tokens import hash_token, make_token

_LAST_USED_STEP = timedelta(minutes=1)


class UnableToCreateUser(Exception):
    """The name is taken or not allowed, or the password is too weak; the message has the reason."""


class UnableToChangePassword(Exception):
    """The password is too weak; the message has the reason."""


def create_user(name: str, password: str, *, superuser: bool = False) -> User:
    """Create a user with a profile. Raises `UnableToCreateUser`."""
    user = User(username=name, is_staff=superuser, is_superuser=superuser)
    try:
        user.full_clean(exclude=["password"])
        validate_password(password, user)
    except ValidationError as exc:
        raise UnableToCreateUser(f"user {name!r} not created: {' '.join(exc.messages)}") from exc
    user.set_password(password)
    with transaction.atomic():
        user.save()
        Profile.objects.create(user=user)
    return user


def profile_of(user: User) -> Profile:
    """Return the user's profile; create it for a user created in the admin."""
    return Profile.objects.get_or_create(user=user)[0]


def lock_user(user: User) -> None:
    """Make other transactions with this lock wait until the present one has ended.

    A count of the user's devices or shares then stays true. SQLite has one writer at a time anyway.
    """
    User.objects.select_for_update().filter(pk=user.pk).first()


def issue_user_token(user: User) -> str:
    """Create a token for the user and return its text; only its hash is stored."""
    token = make_token("jbu")
    UserToken.objects.create(user=user, prefix=token.prefix, token_hash=token.token_hash)
    return token.text


def change_password(user: User, password: str, *, keep_tokens: bool = False) -> None:
    """Set a password; the user's sessions end, and their tokens without `keep_tokens`.

    Raises `UnableToChangePassword`.
    """
    try:
        validate_password(password, user)
    except ValidationError as exc:
        raise UnableToChangePassword(f"password not changed: {' '.join(exc.messages)}") from exc
    user.set_password(password)
    with transaction.atomic():
        user.save(update_fields=["password"])
        if not keep_tokens:
            revoke_user_tokens(user)


def revoke_user_tokens(user: User) -> int:
    """Revoke all tokens of the user's scripts; return the number of active ones."""
    return UserToken.objects.filter(user=user, revoked_at=None).update(revoked_at=timezone.now())


def user_of_token(text: str) -> User | None:
    """Return the active user of the token, or None; store the time of its use, to the minute."""
    token = (
        UserToken.objects.select_related("user")
        .filter(token_hash=hash_token(text), revoked_at=None, user__is_active=True)
        .first()
    )
    if token is None:
        return None
    now = timezone.now()
    if token.last_used_at is None or now - token.last_used_at > _LAST_USED_STEP:
        UserToken.objects.filter(pk=token.pk).update(last_used_at=now)
    return token.user

"""`joulebook user`: accounts and the tokens of their scripts.

Models are imported inside functions: Django has to be set up first.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import (
    AsJson,
    fail,
    json_result,
    minute,
    print_table,
    print_tokens,
    result,
    say,
    token_json,
)

if TYPE_CHECKING:
    from django.contrib.auth.models import User

app = typer.Typer(no_args_is_help=True, help="Create users, give their scripts tokens, list them.")

_Name = Annotated[str, typer.Argument(help="the user's name, as at sign-in", show_default=False)]


@app.command()
def add(
    name: _Name,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="read the password from standard input")
    ] = False,
    superuser: Annotated[bool, typer.Option("--superuser", help="may use the admin pages")] = False,
) -> None:
    """Create a user. The password comes from standard input, or is asked for."""
    with accounts_database():
        from joulebook.web.accounts.operations import UnableToCreateUser, create_user

        password = _read_password(from_stdin=password_stdin)
        try:
            create_user(name, password, superuser=superuser)
        except UnableToCreateUser as exc:
            fail(str(exc))
        say(f"user {name} created")


@app.command()
def password(
    name: _Name,
    *,
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="read the password from standard input")
    ] = False,
    keep_tokens: Annotated[
        bool, typer.Option("--keep-tokens", help="the user's tokens stay in force")
    ] = False,
) -> None:
    """Set a user's password; this ends the user's sessions, and tokens unless you keep these."""
    with accounts_database():
        from joulebook.web.accounts.operations import UnableToChangePassword, change_password

        user = find_user(name)
        try:
            change_password(user, _read_password(from_stdin=password_stdin), keep_tokens=keep_tokens)
        except UnableToChangePassword as exc:
            fail(str(exc))
        say(f"the password of {name} is changed")


@app.command()
def token(name: _Name) -> None:
    """Make a token for the user's scripts to read; it is printed once and not kept."""
    with accounts_database():
        from joulebook.web.accounts.operations import issue_user_token

        result(issue_user_token(find_user(name)))
        say(f"this token reads as {name}; it is not shown again")


@app.command()
def tokens(name: _Name, *, as_json: AsJson = False) -> None:
    """List a user's tokens, and the last use of each."""
    with accounts_database():
        from joulebook.web.accounts.models import UserToken

        found = list(UserToken.objects.filter(user=find_user(name)).order_by("-created_at", "-pk"))
        if as_json:
            json_result([token_json(token) for token in found])
            return
        if not found:
            say(f"no tokens yet; make one with: joulebook user token {name}")
            return
        print_tokens((token, name) for token in found)


@app.command("list")
def list_users(*, as_json: AsJson = False) -> None:
    """List all users with the number of their devices."""
    with accounts_database():
        from django.contrib.auth.models import User
        from django.db.models import Count

        users = User.objects.annotate(owned=Count("devices")).order_by("username")
        if as_json:
            json_result(
                [
                    {
                        "name": user.get_username(),
                        "superuser": user.is_superuser,
                        "active": user.is_active,
                        "devices": user.owned,
                        "created_at": user.date_joined,
                        "last_signed_in_at": user.last_login,
                    }
                    for user in users
                ]
            )
            return
        if not users:
            say("no users yet; create one with: joulebook user add NAME")
            return
        table = Table("Name", "Devices", "Last signed in", "May", box=None, pad_edge=False)
        for user in users:
            may = "nothing" if not user.is_active else "use the admin" if user.is_superuser else ""
            table.add_row(user.get_username(), str(user.owned), minute(user.last_login) or "never", may)
        print_table(table)


def find_user(name: str) -> User:
    """Return the user by name, or end the command with the remedy."""
    from django.contrib.auth.models import User

    user = User.objects.filter(username=name).first()
    if user is None:
        fail(f"there is no user {name!r}; create one with: joulebook user add {name}")
    return user


def _read_password(*, from_stdin: bool) -> str:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        fail("there is no terminal to ask for the password; pipe it in with --password-stdin")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))

"""`joulebook profiles`: reading settings for files of one kind, saved by name for a user.

Each command imports models inside `accounts_database`, because Django must be set up first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from joulebook.cli.django_setup import accounts_database
from joulebook.cli.output import AsJson, fail, json_result, print_table, result, say
from joulebook.cli.user import find_user

app = typer.Typer(no_args_is_help=True, help="Save reading settings by name, list and remove them.")

_Name = Annotated[str, typer.Argument(metavar="NAME", help="the profile's name", show_default=False)]
_Owner = Annotated[
    str, typer.Option("--owner", metavar="USER", help="the owner of the profile", show_default=False)
]


@app.command("list")
def list_profiles(
    *,
    owner: Annotated[
        str | None, typer.Option(metavar="USER", help="only this user's", show_default=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the built-in profiles and the saved ones."""
    with accounts_database():
        from joulebook.telemetry.files.builtin import BUILTIN
        from joulebook.web.imports.models import SavedProfile

        saved = SavedProfile.objects.select_related("owner").order_by("owner__username", "name")
        if owner is not None:
            saved = saved.filter(owner=find_user(owner))
        if as_json:
            json_result(
                [
                    *(_entry(each.name, owner=each.owner.get_username()) for each in saved),
                    *(_entry(each.name, about=each.about) for each in BUILTIN.values()),
                ]
            )
            return
        table = Table("Profile", "Owner", "For", box=None, pad_edge=False)
        for each in saved:
            table.add_row(each.name, each.owner.get_username(), "")
        for built_in in BUILTIN.values():
            table.add_row(built_in.name, "(built in)", built_in.about)
        print_table(table)


def _entry(name: str, *, owner: str | None = None, about: str = "") -> dict[str, str | bool | None]:
    return {"name": name, "built_in": owner is None, "owner": owner, "about": about}


@app.command()
def show(name: _Name, *, owner: _Owner, as_json: AsJson = True) -> None:  # noqa: ARG001 - always JSON
    """Print a saved profile as JSON, in the format of --save-profile."""
    with accounts_database():
        from joulebook.web.imports.models import SavedProfile

        saved = SavedProfile.objects.filter(owner=find_user(owner), name=name).first()
        if saved is None:
            fail(f"{owner} has no profile {name!r}; see them with: joulebook profiles list")
        result(json.dumps(saved.profile, indent=2, ensure_ascii=False))


@app.command()
def save(
    name: _Name,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="a file written by --save-profile", show_default=False)
    ],
    *,
    owner: _Owner,
) -> None:
    """Save a profile by name, replacing an earlier one of that name."""
    with accounts_database():
        from joulebook.cli.imports.run import load_profile
        from joulebook.web.imports.profiles import UnableToSaveProfile, save_profile

        try:
            is_new = save_profile(find_user(owner), name, load_profile(file))
        except UnableToSaveProfile as exc:
            fail(str(exc))
        say(f"profile {name} {'saved' if is_new else 'replaced'}; use it with: --profile {name!r}")


@app.command()
def remove(name: _Name, *, owner: _Owner) -> None:
    """Remove a saved profile. Imported readings stay."""
    with accounts_database():
        from joulebook.web.imports.profiles import remove_profile

        if not remove_profile(find_user(owner), name):
            fail(f"{owner} has no profile {name!r}; see them with: joulebook profiles list")
        say(f"profile {name} removed")

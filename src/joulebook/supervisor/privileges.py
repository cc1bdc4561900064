"""Gives each process of a plan started by root its own system user.

The supervisor stays root, to restart processes; it listens on nothing and reads no data. If processes
cannot change their user, for instance in a container without that right, they stay root as well, with a
warning.
"""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import psycopg
from psycopg.conninfo import conninfo_to_dict

from joulebook.config import Config
from joulebook.embedded import EmbeddedError, UnableToStart, ensure_binaries
from joulebook.embedded.layout import Layout
from joulebook.embedded.server_user import ServerUser, find_server_user
from joulebook.embedded.urls import named_urls, uses_own_server
from joulebook.secret_key import load_secret_key
from joulebook.supervisor.children import CHILDRENS_UMASK
from joulebook.supervisor.ownership import UnableToShare, prepare_home
from joulebook.supervisor.plan import environment_without_credentials, joulebook_command
from joulebook.supervisor.specs import ProcessSpec
from joulebook.supervisor.system_users import SystemUser, SystemUsers, find_users
from joulebook.supervisor.view import folders_in_use, open_way

_TRY = """
import os, sys
from importlib.util import find_spec
try:
    for path in sys.argv[1:]:
        if not os.access(path, os.X_OK if os.path.isdir(path) else os.R_OK):
            sys.exit(f"it cannot reach {path}")
    for name in ("joulebook", "django", "psycopg"):
        found = find_spec(name)
        if found is None:
            sys.exit(f"Python finds no package {name}")
        open(found.origin).close()
except OSError as exc:
    sys.exit(f"{exc}")
"""


_FILES = ("sslcert", "sslkey", "sslrootcert", "passfile")


def drop_privileges(
    config: Config, plan: Sequence[ProcessSpec], say: Callable[[str], None]
) -> list[ProcessSpec]:
    """Return the plan with a system user for each process; unchanged if this process is not root.

    Prepares JOULEBOOK_HOME for them. If processes stay root, `say` gets the reason and the remedy.
    """
    if os.geteuid() != 0:
        return list(plan)
    try:
        load_secret_key(config)
        users = find_users(config.home, _server_user(config))
        prepare_home(config, users)
        _let_them_run(config, users)
    except (UnableToShare, EmbeddedError, OSError, psycopg.Error) as exc:
        say(
            f"warning: every process runs as root, with all rights of root: {exc}\n"
            "warning: put Joulebook and JOULEBOOK_HOME into folders that everybody may enter, such as /opt "
            "and /var/lib, or start Joulebook as an ordinary user"
        )
        return list(plan)
    return [_assign(spec, users, config) for spec in plan]


def start_as_database_user(config: Config) -> bool:
    """Start the database in the background as its own user, if root has given that user the server's folder.

    Returns False if root has not, or cannot. Root should not write there: a link could lead it elsewhere.
    """
    folder = Layout.below(config.home).root
    if os.geteuid() != 0 or not folder.exists() or folder.stat().st_uid == 0:
        return False
    try:
        users = find_users(config.home, _server_user(config))
        prepare_home(config, users)
        _let_them_run(config, users)
    except (UnableToShare, OSError):
        return False
    if users.database is None:
        return False
    command = [*users.database.command_prefix(), *joulebook_command("db", "start")]
    environment = {**environment_without_credentials(config, os.environ), **_own(config)}
    done = subprocess.run(command, check=False, cwd="/", env=environment, umask=CHILDRENS_UMASK)
    if done.returncode != 0:
        raise UnableToStart("the database was not started")
    return True


def _server_user(config: Config) -> ServerUser | None:
    """Return the user of the embedded server. Root fetches its programs: no other user can change them."""
    if uses_own_server(config):
        return None
    if config.postgres_bin is None:
        ensure_binaries(config)
    return find_server_user(Layout.below(config.home).data)


def _let_them_run(config: Config, users: SystemUsers) -> None:
    """Make sure the users can run Joulebook's programs, with a view of the file system if needed."""
    # The users cannot write compiled files: without this, each start would compile everything again.
    compileall.compile_dir(config.package, quiet=2)
    tried = [users.web, *([users.database] if users.database else [])]
    # The user's own servers have sockets and files named in their addresses.
    named = [*named_urls(config).values(), config.database_url]
    addresses = [conninfo_to_dict(url) for url in named if url and url.startswith("postgres")]
    paths = [str(address.get("host") or "") for address in addresses]
    paths += [str(address[name]) for address in addresses for name in _FILES if address.get(name)]
    needed = [str(config.home), *(path for path in paths if path.startswith("/"))]
    if any(_problem(user, config, needed) for user in tried):
        open_way(folders_in_use(config))
    for user in tried:
        if problem := _problem(user, config, needed):
            raise UnableToShare(f"user {user.uid} cannot run the {user.name}: {problem}")


def _problem(user: SystemUser, config: Config, needed: Sequence[str]) -> str:
    """Return why this user cannot run Joulebook's programs; empty if it can."""
    command = [*user.command_prefix(), sys.executable, "-c", _TRY, *needed]
    environment = environment_without_credentials(config, os.environ) | _own(config)
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd="/", env=environment)
    words = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
    return "" if done.returncode == 0 else words[-1]


def _assign(spec: ProcessSpec, users: SystemUsers, config: Config) -> ProcessSpec:
    of: Mapping[str, SystemUser | None] = {
        "database": users.database,
        "migrate": users.migrate,
        "worker": users.worker,
        "web": users.web,
        "ingest": users.ingest,
        "history": users.demo,
        "simulator": users.simulator,
    }
    own = _own(config)
    return replace(spec, user=of[spec.name], environment=lambda: {**spec.environment(), **own})


def _own(config: Config) -> dict[str, str]:
    """Return replacements of root's own variables: libpq, for one, looks for certificates in root's home."""
    own = {"HOME": str(config.home), "JOULEBOOK_CACHE": str(config.cache)}
    if config.postgres_bin is not None:
        own["JOULEBOOK_POSTGRES_BIN"] = str(config.postgres_bin.expanduser().absolute())
    return own

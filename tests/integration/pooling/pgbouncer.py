"""Debian's PgBouncer in transaction mode, started for a test on a port and in a folder of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ...conftest import free_port

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

# Server connections take turns, and are fewer than clients: what a client leaves in one, others find.
_SETTINGS = """
[databases]
* = host={host} port={port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {own_port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users.txt
pool_mode = transaction
default_pool_size = 3
server_round_robin = 1
max_client_conn = 200
logfile = {folder}/log
"""


class PgBouncer:
    """A pooler before the servers of these addresses, which are all on one."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        assert PROGRAM is not None
        self.port = free_port()
        fields = {role: conninfo_to_dict(url) for role, url in urls.items()}
        host, port = str(fields["writer"]["host"]), fields["writer"]["port"]
        users = "".join(f'"{each["user"]}" "{each["password"]}"\n' for each in fields.values())
        (folder / "users.txt").write_text(users)
        settings = folder / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(host=host, port=port, own_port=self.port, folder=folder))
        # It refuses to run as root, and the server's socket is for the server's user.
        account = Path(host).stat()
        for path in (folder, *folder.iterdir()):
            os.chown(path, account.st_uid, account.st_gid)
        self.urls = {
            role: make_conninfo(**{**each, "host": "127.0.0.1", "port": self.port})
            for role, each in fields.items()
        }
        self.log = folder / "log"
        self._process = subprocess.Popen(
            [PROGRAM, "-q", str(settings)],
            user=account.st_uid if os.geteuid() == 0 else None,
            group=account.st_gid if os.geteuid() == 0 else None,
            extra_groups=[] if os.geteuid() == 0 else None,
        )
        deadline = time.monotonic() + 60
        while not self._answers():
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.urls["writer"], connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

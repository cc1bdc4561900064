"""The samples for nginx and Caddy, unchanged: both programs accept them, and Joulebook works behind them."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest

from .behind_proxy import CHECKS, make_certificate, proxy_command
from .programs import need, run

PACKAGES = {"nginx": "nginx-light", "caddy": "caddy"}
every_proxy = pytest.mark.parametrize("proxy", PACKAGES)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that every user can enter: nginx's workers and the database are not root's."""
    with tempfile.TemporaryDirectory(prefix="joulebook-proxy-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@every_proxy
def test_the_proxy_accepts_its_sample(proxy: str, folder: Path) -> None:
    program = need(proxy, PACKAGES[proxy])
    need("openssl", "openssl")
    make_certificate(folder / "tls")
    words, settings = proxy_command(proxy, folder)
    check = ["-t", *words[1:5]] if proxy == "nginx" else ["validate", *words[2:]]
    done = run(program, *check, env={**os.environ, **settings})
    assert done.returncode == 0, done.stdout


def run_in_namespace(proxy: str, program: str, folder: Path, *, seconds: float) -> CompletedProcess[str]:
    """Run one of this folder's programs where all ports are free, as the samples name theirs."""
    need(proxy, PACKAGES[proxy])
    need("openssl", "openssl")
    if os.geteuid() != 0:
        pytest.skip("only root can make a network namespace, in which all ports are free")
    return run(
        "unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh",
        sys.executable, "-m", f"tests.integration.deploy.{program}", proxy, folder,
        seconds=seconds, cwd=Path(__file__).parents[3],
    )  # fmt: skip


@every_proxy
def test_the_sample_passes_on_addresses_and_headers_as_joulebook_needs_them(proxy: str, folder: Path) -> None:
    done = run_in_namespace(proxy, "echo_behind_proxy", folder, seconds=250)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith("all as it should be\n")


@pytest.mark.slow
@pytest.mark.timeout(1500)
@every_proxy
def test_joulebook_works_behind_the_sample_on_another_port_than_443(proxy: str, folder: Path) -> None:
    done = run_in_namespace(proxy, "behind_proxy", folder, seconds=1400)
    sys.stdout.write(done.stdout)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count(f"{proxy}: ") == len(CHECKS)

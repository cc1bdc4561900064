"""The page on deploying names every file of `deploy/`, and nothing that is not there."""

from __future__ import annotations

import re

import yaml

from joulebook.page_assets import PACKAGE

from ...docs_pages import REPOSITORY

DEPLOY = REPOSITORY / "deploy"
PAGE = (REPOSITORY / "docs" / "how-to" / "deploy.md").read_text()


def test_every_path_that_the_page_names_exists() -> None:
    named = set(re.findall(r"\bdeploy/[\w./-]*[\w/]", PAGE)) - {"deploy/.env"}
    assert len(named) > 5
    missing = {path for path in named if not (REPOSITORY / path).exists()}
    # A command of the page may name files by a pattern.
    assert {path for path in missing if not list(REPOSITORY.glob(f"{path}*"))} == set()


def test_every_file_is_named() -> None:
    files = {path.name for path in DEPLOY.rglob("*") if path.is_file() and path.name != ".env"}
    assert {name for name in files if name not in PAGE} == set()


def test_every_figure_that_an_alert_looks_at_is_one_of_joulebooks() -> None:
    rules = yaml.safe_load((DEPLOY / "prometheus" / "joulebook.rules.yml").read_text())
    expressions = " ".join(rule["expr"] for group in rules["groups"] for rule in group["rules"])
    named = set(re.findall(r"\bjoulebook_[a-z_]+", expressions))
    assert len(named) > 7
    reference = (REPOSITORY / "docs" / "reference" / "metrics.md").read_text()
    documented = set(re.findall(r"`(joulebook_[a-z_]+)`", reference))
    assert {name.removesuffix("_bucket") for name in named} <= documented
    source = "".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    for name in named:
        # Ingest puts its prefix before the names in its source.
        short = re.sub(r"^joulebook_(ingest_)?|_bucket$|_total$", "", name)
        assert re.search(rf'"(joulebook_)?{short}(_total)?"', source), name

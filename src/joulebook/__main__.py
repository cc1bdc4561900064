"""Lets `python -m joulebook` do what `joulebook` does."""

from joulebook.cli.main import main

main()

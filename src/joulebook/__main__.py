"""Makes `python -m joulebook` the same as `joulebook`."""

from joulebook.cli.main import main

main()

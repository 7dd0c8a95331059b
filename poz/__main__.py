"""`poz`, or `python -m poz`: the command line, or what to install for it."""

import sys

from poz._extras import require


def main() -> None:
    """Entry point of the `poz` command."""
    try:
        require("The command line", "cli", "typer", "rich")
        from poz.cli import app

        app()
    except ImportError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

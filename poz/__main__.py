"""`poz`, or `python -m poz`: the command line, or what to install for it."""

import sys

from poz._output import spell_out


def main() -> None:
    """Entry point of the `poz` command."""
    for stream in (sys.stdout, sys.stderr):
        spell_out(stream)
    try:
        from poz.cli import app

        app()
    except ImportError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()

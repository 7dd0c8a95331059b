"""`python -m poz` is the command line."""

from poz.cli import main

main()

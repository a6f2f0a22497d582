"""`python -m waitroom` is the command line."""

from waitroom.cli.commands import main

main(prog_name="waitroom")

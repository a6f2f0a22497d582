"""`python -m waitroom` is the command line."""

from waitroom.cli import main

main(prog_name="waitroom")

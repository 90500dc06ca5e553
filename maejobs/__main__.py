"""`python -m maejobs`."""

from maejobs.cli import main

main()

"""`python -m handpose`."""

from handpose.cli import main

main()

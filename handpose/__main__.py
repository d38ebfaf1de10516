"""`python -m handpose`."""

from handpose.cli.main import main

main()

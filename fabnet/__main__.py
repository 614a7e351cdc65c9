"""`python -m fabnet`: the `fabnet` command."""

from fabnet.cli.main import main

main()

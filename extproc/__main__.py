"""`python -m extproc`: the same as the `extproc` command."""

import sys

from extproc.command_line import main

sys.exit(main())

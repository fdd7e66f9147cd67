"""`python -m sseg ...`, which is the command `sseg` of an installed package."""

import sys

from sseg.cli import main

if __name__ == "__main__":
    sys.exit(main())

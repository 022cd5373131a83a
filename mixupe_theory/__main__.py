"""``python -m mixupe_theory``."""

import sys

from mixupe_theory.cli import main

if __name__ == "__main__":
    sys.exit(main())

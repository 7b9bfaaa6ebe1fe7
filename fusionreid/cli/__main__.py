"""``python -m fusionreid.cli`` is the same as ``fusionreid``."""

import sys

from .main import main

if __name__ == '__main__':
    sys.exit(main())

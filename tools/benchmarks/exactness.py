"""The same as ``fusionreid benchmark exactness``."""

import sys

from fusionreid.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('benchmark exactness'))

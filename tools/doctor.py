"""The same as ``fusionreid doctor``."""

import sys

from fusionreid.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('doctor'))

"""The same as ``fusionreid unpack-cuhk03``."""

import sys

from fusionreid.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('unpack-cuhk03'))

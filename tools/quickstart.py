"""The same as ``fusionreid quickstart``, in the root of the checkout."""

import os
import sys
from pathlib import Path

from fusionreid.cli.main import run_command

if __name__ == '__main__':
    os.chdir(Path(__file__).resolve().parents[1])
    sys.exit(run_command('quickstart'))

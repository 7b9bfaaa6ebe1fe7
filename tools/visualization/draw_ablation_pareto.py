"""The same as ``fusionreid ablation-pareto``."""

import sys

from fusionreid.cli.main import run_command

if __name__ == '__main__':
    sys.exit(run_command('ablation-pareto'))

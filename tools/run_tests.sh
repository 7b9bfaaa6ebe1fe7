#!/usr/bin/env bash
# Makes or reuses .venv and runs the tests in the repository root.
#
#   bash tools/run_tests.sh [pytest arguments]
#
# Without arguments all tests run, and coverage of fusionreid is shown and must reach 85%.
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,/^set/s/^#\{1,\} \{0,1\}//p' "$0"
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/ensure_venv.sh
if ! ensure_venv tests; then
  echo 'run_tests: FAILED (no environment to run in)' >&2
  exit 1
fi

if [[ $# -eq 0 ]]; then
  set -- --cov=fusionreid --cov-report=term --cov-fail-under=85
fi

# Threads that spin while they wait starve the other processes of the two-process tests.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"

status=0
"$VENV_PYTHON" -m pytest "$@" || status=$?
if [[ "$status" == 0 ]]; then
  printf '\nrun_tests: passed\n'
else
  printf '\nrun_tests: FAILED (pytest exit status %s)\n' "$status"
fi
exit "$status"

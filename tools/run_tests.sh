#!/usr/bin/env bash
# Makes or reuses .venv, checks the code and runs the tests in the repository root.
#
#   bash tools/run_tests.sh                    all checks and tests, and the documentation is built:
#                                              19 minutes
#   bash tools/run_tests.sh --fast             the checks, and the tests that are not slow: 5 minutes
#   bash tools/run_tests.sh [pytest arguments] the tests that pytest chooses by these arguments
#
# Without arguments coverage of fusionreid is shown, and must reach 85%. These numbers are for two
# cores and 4 GiB of memory; a worker runs on each core, PYTEST_XDIST_AUTO_NUM_WORKERS sets another
# number of them.
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,/^set/s/^#\{1,\} \{0,1\}//p' "$0"
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/ensure_venv.sh

run_tests() {
  if ! ensure_venv tests; then
    echo 'run_tests: FAILED (no environment to run in)' >&2
    exit 1
  fi
  # Threads that spin while they wait starve the other processes of the two-process tests.
  OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}" "$VENV_PYTHON" -m pytest "$@"
}

# A worker on each core; each computes with one thread.
run_in_workers() { OMP_NUM_THREADS=1 run_tests -n auto --dist worksteal "$@"; }

status=0
case "${1:-}" in
  '')
    bash tools/check_code.sh || status=1
    bash tools/build_docs.sh || status=1
    run_in_workers --cov=fusionreid --cov-report=term --cov-fail-under=85 || status=$?
    ;;
  --fast)
    bash tools/check_code.sh || status=1
    run_in_workers -m 'not slow' "${@:2}" || status=$?
    ;;
  *) run_tests "$@" || status=$? ;;
esac

if [[ "$status" == 0 ]]; then
  printf '\nrun_tests: passed\n'
else
  printf '\nrun_tests: FAILED (exit status %s)\n' "$status"
fi
exit "$status"

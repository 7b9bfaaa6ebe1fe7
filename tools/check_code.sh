#!/usr/bin/env bash
# Checks style, documentation of the code, types, import directions and spelling.
#
#   bash tools/check_code.sh
#
# tools/run_tests.sh runs it before the tests; the pre-commit hooks run the same commands.
set -euo pipefail

case "${1:-}" in
  -h | --help)
    sed -n '2,/^set/s/^#\{1,\} \{0,1\}//p' "$0"
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/ensure_venv.sh
if ! ensure_venv checks; then
  echo 'check_code: FAILED (no environment to run in)' >&2
  exit 1
fi

failed=()
check() {
  local name="$1"
  shift
  printf '[check] %s\n' "$name"
  "$@" || failed+=("$name")
}

check 'style, names and docstrings: ruff check' "$VENV_DIR/bin/ruff" check --quiet
check 'layout: ruff format' "$VENV_DIR/bin/ruff" format --check --quiet
check 'types: mypy' "$VENV_DIR/bin/mypy" --no-error-summary
check 'import directions: lint-imports' "$VENV_DIR/bin/lint-imports" --no-logo
check 'spelling: codespell' "$VENV_DIR/bin/codespell" README.md CHANGELOG.md CONTRIBUTING.md \
  configs docs fusionreid requirements tests tools

if ((${#failed[@]})); then
  printf 'check_code: FAILED (%s)\n' "$(IFS=';'; echo "${failed[*]}")"
  exit 1
fi
printf 'check_code: passed\n'

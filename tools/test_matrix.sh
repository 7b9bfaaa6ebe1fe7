#!/usr/bin/env bash
# Runs the tests on other versions of Python, torch and the OpenMMLab packages.
#
#   bash tools/test_matrix.sh                            all combinations listed below
#   bash tools/test_matrix.sh 3.10/2.4.1/runtime ...     some: PYTHON/TORCH/REQUIREMENTS
#   bash tools/test_matrix.sh default/default/onedl -- tests/test_models -k resnet
#
# PYTHON is a version whose pythonX.Y is on PATH, TORCH a version of torch, REQUIREMENTS a file of
# requirements/ with one stack of OpenMMLab packages (runtime or onedl); `default` is PYTHON or python3, and
# the newest torch that pip finds. After `--` come arguments of pytest; without them those tests run
# that are not slow. Each combination gets an environment of its own in FUSIONREID_MATRIX_DIR
# (otherwise ~/.cache/fusionreid/matrix), of up to 8 GB, which is removed afterwards unless
# FUSIONREID_MATRIX_KEEP is set. The last lines are rows for the table in docs/stacks.md.
set -euo pipefail

COMBINATIONS=(3.10/2.4.1/runtime 3.12/2.6.0/runtime 3.13/2.14.1/runtime 3.11/2.14.1/onedl)

case "${1:-}" in
  -h | --help)
    sed -n '2,/^set/s/^#\{1,\} \{0,1\}//p' "$0"
    exit 0
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
MATRIX_DIR="${FUSIONREID_MATRIX_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/fusionreid/matrix}"
say() { printf '[matrix] %s\n' "$*"; }

# Prints the arguments that pin torch and the torchvision of the same day: 0.19.1 for 2.4.1.
pins() {
  [[ "$1" == default ]] && return
  local major minor patch
  IFS=. read -r major minor patch <<<"$1"
  if [[ "$major" != 2 || ! "$minor" =~ ^[0-9]+$ || ! "$patch" =~ ^[0-9]+$ ]]; then
    say "error: a version of torch is 2.MINOR.PATCH, got '$1'" >&2
    return 1
  fi
  printf '%s\n' "torch==$1" "torchvision==0.$((minor + 15)).$patch"
}

# Makes the environment $1 for Python $2, torch $3 and requirements/$4.txt.
install() {
  local folder="$1" python="${PYTHON:-python3}" pinned
  [[ "$2" == default ]] || python="python$2"
  if [[ ! -f "requirements/$4.txt" ]]; then
    say "error: there is no requirements/$4.txt" >&2
    return 1
  fi
  pinned="$(pins "$3")" || return 1
  "$python" -m venv --clear "$folder" || return 1
  # Old pips take minutes to choose versions. shellcheck disable=SC2086
  "$folder/bin/python" -m pip install --quiet --upgrade pip </dev/null &&
    "$folder/bin/python" -m pip install --quiet $pinned -r "requirements/$4.txt" \
      -r requirements/tests.txt </dev/null
}

# Runs pytest in the environment $1 and prints its output; the further arguments are pytest's.
run_tests() {
  local folder="$1"
  shift
  PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}" OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive \
    "$folder/bin/python" -m pytest -p no:cacheprovider -p no:warnings --tb=short "$@"
}

combinations=() status=0 rows=()
while (($#)) && [[ "$1" != -- ]]; do
  if [[ ! "$1" =~ ^[^/]+/[^/]+/[^/]+$ ]]; then
    say "error: a combination is PYTHON/TORCH/REQUIREMENTS, got '$1'" >&2
    exit 2
  fi
  combinations+=("$1")
  shift
done
(($#)) && shift
(($#)) || set -- -n auto --dist worksteal -m 'not slow'
((${#combinations[@]})) || combinations=("${COMBINATIONS[@]}")

for combination in "${combinations[@]}"; do
  IFS=/ read -r python torch requirements <<<"$combination"
  folder="$MATRIX_DIR/${combination//\//-}"
  mkdir -p "$folder"
  say "$combination: installing into $folder"
  if install "$folder" "$python" "$torch" "$requirements"; then
    say "$combination: testing"
    run_tests "$folder" "$@" 2>&1 | tee "$folder/tests.log" || status=1
    result="$(grep -E '^[0-9]+ (passed|failed|error)|^=* ?[0-9]+ .*(passed|failed|error).* in ' \
      "$folder/tests.log" | tail -n 1 | sed -E 's/^=* ?| in [0-9].*$//g')"
    versions="$("$folder/bin/python" -c 'import sys, importlib.metadata as m
print("%d.%d" % sys.version_info[:2], "|", m.version("torch"))')"
  else
    status=1 result='' versions="$python | $torch"
  fi
  rows+=("| $versions | $requirements.txt | ${result:-not installed} | $(date +%F) |")
  [[ -n "${FUSIONREID_MATRIX_KEEP:-}" ]] || rm -rf "$folder"
done

printf '%s\n' "${rows[@]}"
exit "$status"

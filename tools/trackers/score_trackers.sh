#!/usr/bin/env bash
# Scores trackers with and without features of FusionReID, in an environment of its own.
#
#   bash tools/trackers/score_trackers.sh CHECKPOINT [FOLDER [OPTION ...]]
#
# FOLDER (work_dirs/trackers) gets the environment and two rendered videos. Options are those of
# score_trackers.py, such as --max-distance 0.1. Installs BoxMOT, which is under the AGPL,
# deep-sort-realtime and motmetrics, none of which FusionReID needs otherwise.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
case "${1:---help}" in
  -h | --help)
    sed -n '2,/^set/s/^#\{1,\} \{0,1\}//p' "$0"
    exit 0
    ;;
esac
checkpoint="$1" folder="${2:-work_dirs/trackers}"
mkdir -p "$folder"
if [[ ! -f "$folder/venv/ready" ]]; then
  "${PYTHON:-python3}" -m venv --clear "$folder/venv"
  "$folder/venv/bin/python" -m pip install -r "$root/requirements/trackers.txt" \
    -r "$root/requirements/runtime.txt"
  "$folder/venv/bin/python" -m pip install --no-deps "$root"
  touch "$folder/venv/ready"
fi
if [[ ! -d "$folder/clips" ]]; then
  "$folder/venv/bin/fusionreid" render-video "$folder/clips"
fi
"$folder/venv/bin/python" "$root/tools/trackers/score_trackers.py" "$folder/clips" "$checkpoint" \
  "${@:3}"

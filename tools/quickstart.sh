#!/usr/bin/env bash
# From nothing to a trained model: environment, rendered people, training, scores and pictures.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
source tools/ensure_venv.sh
ensure_venv
exec .venv/bin/python tools/quickstart.py "$@"

#!/usr/bin/env bash
# Tests on several processes: GPUs with NCCL, or CPU processes with gloo on a machine without.
# Several nodes: set NNODES, NODE_RANK, MASTER_ADDR and PORT on each.
set -euo pipefail

if [[ $# -lt 3 || ! "$3" =~ ^[1-9][0-9]*$ ]]; then
  echo 'usage: [NNODES=1] [NODE_RANK=0] [MASTER_ADDR=127.0.0.1] [PORT=29500]' \
    "bash $0 CONFIG CHECKPOINT GPUS [arguments of tools/test.py]" >&2
  exit 2
fi
config="$1" checkpoint="$2" gpus="$3"
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

exec env PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" \
  "${PYTHON:-python}" -m torch.distributed.run \
  --nnodes="${NNODES:-1}" \
  --node-rank="${NODE_RANK:-0}" \
  --master-addr="${MASTER_ADDR:-127.0.0.1}" \
  --master-port="${PORT:-29500}" \
  --nproc-per-node="$gpus" \
  "$tools/test.py" "$config" "$checkpoint" --launcher pytorch "${@:4}"

#!/usr/bin/env bash
# Trains on a Slurm cluster, one process per GPU, on as many nodes as the GPUs fill.
set -euo pipefail

usage() {
  echo 'usage: [GPUS=8] [GPUS_PER_NODE=8] [CPUS_PER_TASK=5] [PORT=29500] [SRUN_ARGS="..."]' \
    "bash $0 PARTITION JOB_NAME CONFIG [arguments of tools/train.py]" >&2
  exit 2
}
count='^[1-9][0-9]*$'
gpus="${GPUS:-8}"
[[ $# -ge 3 && "$gpus" =~ $count ]] || usage
gpus_per_node="${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}"
[[ "$gpus_per_node" =~ $count ]] || usage
if ((gpus % gpus_per_node)); then
  echo "GPUS=$gpus is not a multiple of GPUS_PER_NODE=$gpus_per_node" >&2
  exit 2
fi
partition="$1" job_name="$2" config="$3"
tools="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
read -r -a srun_args <<<"${SRUN_ARGS:-}"

exec env PYTHONPATH="$tools/..${PYTHONPATH:+:$PYTHONPATH}" MASTER_PORT="${PORT:-29500}" \
  srun --partition="$partition" \
  --job-name="$job_name" \
  --nodes="$((gpus / gpus_per_node))" \
  --gres="gpu:$gpus_per_node" \
  --ntasks="$gpus" \
  --ntasks-per-node="$gpus_per_node" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" \
  --kill-on-bad-exit=1 \
  ${srun_args[@]+"${srun_args[@]}"} \
  "${PYTHON:-python}" -u "$tools/train.py" "$config" --launcher slurm "${@:4}"

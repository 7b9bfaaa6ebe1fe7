#!/usr/bin/env bash
# Makes, completes or reuses .venv in the repository root and puts it first on PATH.
#
#   bash tools/ensure_venv.sh [tests] [optional]        make it ready
#   . tools/ensure_venv.sh && ensure_venv [tests] ...   the same, from a script, which then uses it
#
# Runtime requirements are always installed; the words name further files of requirements/.
# PYTHON=/path/to/python chooses the interpreter for a new .venv. A working torch and torchvision
# that meet requirements/runtime.txt are kept, whether they are in .venv or on the machine.
# pip's own configuration decides where packages come from.

VENV_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
VENV_DIR="$VENV_ROOT/.venv"
VENV_PYTHON="$VENV_DIR/bin/python"
# Present while packages are being installed, so that the next run knows about an interruption.
VENV_UNFINISHED="$VENV_DIR/.fusionreid-unfinished"

venv_say() { printf '[venv] %s\n' "$*"; }
venv_fail() {
  printf '[venv] error: %s\n' "$*" >&2
  return 1
}

venv_runs() { "$VENV_PYTHON" -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null; }

# Everything that decides what must be installed, as one short word.
venv_key() {
  {
    printf '%s\n' "$VENV_ROOT"
    cat "$VENV_ROOT"/requirements/*.txt "$VENV_ROOT/setup.py" "$VENV_ROOT/pyproject.toml" \
      "$VENV_DIR/pyvenv.cfg"
  } | cksum | tr ' ' '-'
}

# Prints `VERSION-KIND` of an interpreter that can make a virtual environment. KIND is `torch` if it
# sees a torch, else `plain`. Fails if it does not run, is older than 3.10 or has no venv module.
venv_describe_python() {
  "$1" -c '
import importlib.util as u, sys
if sys.version_info < (3, 10) or not (u.find_spec("venv") and u.find_spec("ensurepip")):
    sys.exit(1)
kind = "torch" if u.find_spec("torch") and u.find_spec("torchvision") else "plain"
print("%d.%d-%s" % (*sys.version_info[:2], kind))' </dev/null 2>/dev/null
}

# Prints the interpreter for a new .venv: first one of 3.10 to 3.12 that sees a torch, then any of
# 3.10 to 3.12, then a newer one.
venv_choose_python() {
  local name description fallback='' newer=''
  if [[ -n "${PYTHON:-}" ]]; then
    if ! venv_describe_python "$PYTHON" >/dev/null; then
      venv_fail "PYTHON=$PYTHON is not a Python >= 3.10 with the venv and ensurepip modules"
      return 1
    fi
    printf '%s\n' "$PYTHON"
    return
  fi
  for name in python3 python python3.12 python3.11 python3.10; do
    description="$(venv_describe_python "$name")" || continue
    case "$description" in
      3.1[0-2]-torch) printf '%s\n' "$name"; return ;;
      3.1[0-2]-plain) fallback="${fallback:-$name}" ;;
      *) newer="${newer:-$name}" ;;
    esac
  done
  if [[ -z "$fallback$newer" ]]; then
    venv_fail "no Python 3.10 to 3.12 with the venv and ensurepip modules was found. Install one" \
      "(Debian, Ubuntu: apt-get install python3 python3-venv) or name it: PYTHON=/path/to/python"
    return 1
  fi
  printf '%s\n' "${fallback:-$newer}"
}

# Prints pip constraints `name==version` for torch and torchvision if both work together in .venv
# and meet requirements/runtime.txt; else fails.
venv_working_torch() {
  "$VENV_PYTHON" - "$VENV_ROOT/requirements/runtime.txt" 2>/dev/null <<'PY'
import sys
from importlib.metadata import version

from pip._vendor.packaging.requirements import Requirement

lines = (line.split('#')[0].strip() for line in open(sys.argv[1]))
wanted = {r.name: r for r in (Requirement(line) for line in lines if line)}
for name in ('torch', 'torchvision'):
    if not wanted[name].specifier.contains(version(name), prereleases=True):
        sys.exit(1)
import torch, torchvision

torch.ops.torchvision.nms  # missing when the two are builds for different devices
for name in ('torch', 'torchvision'):
    print(f'{name}=={version(name)}')
PY
}

# Makes an empty .venv that sees the machine's torch where there is a suitable one.
venv_create() {
  local python description outer kept
  python="$(venv_choose_python)" || return 1
  description="$(venv_describe_python "$python")" || return 1
  venv_say "making .venv with $(command -v "$python") (Python ${description%-*})"
  case "$description" in
    3.1[0-2]-*) ;;
    *) venv_say "note: Python ${description%-*} is newer than the tested 3.10 to 3.12" ;;
  esac
  if [[ "$description" == *-torch ]]; then
    "$python" -m venv --clear --system-site-packages "$VENV_DIR" || return 1
    # A torch in another, active virtual environment is not in the system's site-packages.
    outer="$("$python" -c 'import sys, sysconfig
if sys.prefix != sys.base_prefix: print(sysconfig.get_path("purelib"))')"
    if [[ -n "$outer" ]]; then
      printf '%s\n' "$outer" \
        >"$("$VENV_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/outer.pth"
    fi
    if kept="$(venv_working_torch)"; then
      venv_say "keeping the machine's ${kept//$'\n'/ and }"
      return
    fi
    venv_say "the machine's torch or torchvision is too old or does not work; installing our own"
  fi
  "$python" -m venv --clear "$VENV_DIR"
}

venv_pip() {
  # PIP_USER would try to install outside the environment.
  PIP_USER=0 PIP_DISABLE_PIP_VERSION_CHECK=1 "$VENV_PYTHON" -m pip "$@" </dev/null
}

# Runs `pip install` up to three times, because networks fail.
venv_install() {
  local attempt
  for attempt in 1 2 3; do
    if venv_pip install $([[ -t 1 ]] || echo --progress-bar=off) "$@"; then return; fi
    if [[ "$attempt" != 3 ]]; then
      venv_say "pip failed; trying again in $((attempt * 5)) s (attempt $((attempt + 1)) of 3)"
      sleep $((attempt * 5))
    fi
  done
  venv_fail "pip could not install: $*. The reason is in the lines above; a mirror or a proxy" \
    "belongs in pip's configuration (pip config)"
}

# Forgets packages whose files were only half copied, which pip would take for installed: pip
# writes INSTALLER and RECORD last.
venv_forget_incomplete() {
  "$VENV_PYTHON" - <<'PY'
import pathlib, shutil, sysconfig

for info in pathlib.Path(sysconfig.get_path('purelib')).glob('*.dist-info'):
    if not ((info / 'INSTALLER').is_file() and (info / 'RECORD').is_file()):
        print(f'[venv] incomplete, will be installed again: {info.name}')
        shutil.rmtree(info)
PY
}

# Machines without a screen often lack libGL, which opencv-python loads; the headless build does
# not need it and is the same module otherwise.
venv_repair_opencv() {
  local problem version
  if problem="$("$VENV_PYTHON" -c 'import cv2' 2>&1)"; then return; fi
  if [[ "$problem" != *'cannot open shared object file'* ]]; then
    venv_fail "import cv2 failed: ${problem##*$'\n'}"
    return 1
  fi
  version="$("$VENV_PYTHON" -c \
    'from importlib.metadata import version; print(version("opencv-python"))')" || return 1
  venv_say "opencv-python cannot be used here (${problem##*$'\n'})"
  venv_say "replacing it by opencv-python-headless $version; pip check may complain, harmlessly"
  venv_pip uninstall --quiet --yes opencv-python opencv-python-headless || return 1
  venv_install --quiet --no-deps --force-reinstall "opencv-python-headless==$version"
}

# Prints why the installed packages cannot be used, or nothing.
venv_problem() {
  local modules='cv2, matplotlib, mmcv, mmengine.runner, mmpretrain.models, timm, torch, torchvision'
  case " $* " in *' tests '*) modules="$modules, hypothesis, pytest, pytest_cov" ;; esac
  # From another folder, so that the installed package is found and not the one in the root.
  (cd "$VENV_DIR" && "$VENV_PYTHON" -W ignore -c "import $modules, fusionreid" 2>&1 >/dev/null) |
    tail -n 1
  return "${PIPESTATUS[0]}"
}

# Installs into .venv. Fails with 2 if what was installed does not import.
venv_fill() {
  local requirements=() extra constraints problem
  for extra in runtime "$@"; do requirements+=(-r "$VENV_ROOT/requirements/$extra.txt"); done
  : >"$VENV_UNFINISHED"
  constraints="$VENV_DIR/.fusionreid-constraints.txt"
  venv_working_torch >"$constraints" || : >"$constraints"
  venv_say "[1/3] installing requirements: $(echo runtime "$@") (takes minutes if torch must be downloaded)"
  venv_install -c "$constraints" "${requirements[@]}" || return 1
  venv_say '[2/3] installing fusionreid in editable mode'
  venv_install --quiet --no-deps --no-build-isolation -e "$VENV_ROOT" || return 1
  venv_say '[3/3] checking that everything imports'
  venv_repair_opencv || return 2
  if ! problem="$(venv_problem "$@")"; then
    venv_fail "the installed packages do not import: $problem"
    return 2
  fi
  rm -f "$VENV_UNFINISHED" "$constraints"
}

venv_prepare() {
  local status=0 interrupted='' key stamp extra
  for extra in "$@"; do
    if [[ ! -f "$VENV_ROOT/requirements/$extra.txt" ]]; then
      venv_fail "unknown requirements '$extra': there is no requirements/$extra.txt"
      return 1
    fi
  done
  stamp="$VENV_DIR/.fusionreid-installed$(printf -- '-%s' runtime "$@")"
  if [[ ! -e "$VENV_UNFINISHED" && -f "$stamp" ]] && venv_runs &&
    [[ "$(cat "$stamp")" == "$(venv_key)" ]]; then
    return
  fi

  if [[ -e "$VENV_UNFINISHED" ]]; then
    interrupted=yes
    venv_say 'an earlier installation was interrupted; completing it'
  fi
  if ! venv_runs; then
    venv_create || return 1
  elif ! "$VENV_PYTHON" -m pip --version >/dev/null 2>&1 &&
    ! "$VENV_PYTHON" -m ensurepip >/dev/null 2>&1; then
    venv_say '.venv has no pip and cannot get one; making it anew'
    venv_create || return 1
  fi
  if [[ -n "$interrupted" ]]; then venv_forget_incomplete || return 1; fi
  venv_fill "$@" || status=$?
  if [[ "$status" == 2 && -n "$interrupted" ]]; then
    venv_say 'the interrupted installation cannot be completed; making .venv anew'
    venv_create || return 1
    venv_fill "$@" || return 1
  elif [[ "$status" != 0 ]]; then
    return 1
  fi
  key="$(venv_key)"
  printf '%s\n' "$key" >"$VENV_DIR/.fusionreid-installed-runtime"
  printf '%s\n' "$key" >"$stamp"
  venv_say "ready: $VENV_DIR"
}

# Makes .venv ready with runtime requirements and those named, and puts it first on PATH.
ensure_venv() {
  local status=0 lock
  # Two commands that are started together must not install at the same time.
  if command -v flock >/dev/null; then
    lock="${TMPDIR:-/tmp}/fusionreid-venv-$(id -u)-$(printf '%s' "$VENV_ROOT" | cksum | tr ' ' '-')"
    (
      if ! flock -n 9; then
        venv_say 'waiting for another installation into .venv'
        flock 9
      fi
      venv_prepare "$@"
    ) 9>"$lock" || status=$?
  else
    venv_prepare "$@" || status=$?
  fi
  [[ "$status" == 0 ]] || return "$status"
  unset PYTHONHOME
  export VIRTUAL_ENV="$VENV_DIR" PATH="$VENV_DIR/bin:$PATH"
}

if [[ "${BASH_SOURCE[0]}" == "$0" ]]; then
  set -euo pipefail
  case "${1:-}" in
    -h | --help)
      sed -n '2,/^$/s/^#\{1,\} \{0,1\}//p' "$0"
      exit 0
      ;;
  esac
  ensure_venv "$@"
fi

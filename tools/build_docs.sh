#!/usr/bin/env bash
# Builds the site of the documentation in site/; a broken link or anchor is an error.
#
#   bash tools/build_docs.sh           # build; open site/index.html
#   bash tools/build_docs.sh serve     # build, serve on this machine and rebuild on changes
#
# Makes or reuses .venv. Building needs no network. The search needs a server, the pages do not.
set -euo pipefail

case "${1:-build}" in
  -h | --help)
    sed -n '2,/^set/s/^#\{1,\} \{0,1\}//p' "$0"
    exit 0
    ;;
  build) command=(build --strict) ;;
  serve) command=(serve --strict) ;;
  *)
    echo "build_docs: unknown argument '$1', see --help" >&2
    exit 2
    ;;
esac

cd "$(dirname "${BASH_SOURCE[0]}")/.."
. tools/ensure_venv.sh
if ! ensure_venv docs; then
  echo 'build_docs: FAILED (no environment to build in)' >&2
  exit 1
fi

status=0
NO_MKDOCS_2_WARNING=1 "$VENV_PYTHON" -m mkdocs "${command[@]}" -f docs/scripts/mkdocs.yml || status=$?
if [[ "$status" == 0 ]]; then
  printf '\nbuild_docs: built site/index.html\n'
else
  printf '\nbuild_docs: FAILED (mkdocs exit status %s)\n' "$status"
fi
exit "$status"

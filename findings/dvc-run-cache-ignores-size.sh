#!/usr/bin/env bash
# DVC 3.67.1: a param called `size` or `nfiles`, at any depth of a section that a stage depends on, is no part of the run
# cache's key. A stage that ran with one value is answered, for another value, with the outputs of the first, and both
# dvc.lock and `dvc status` call them up to date. The same pipeline with the key `image_size` runs again.
# Upstream: https://github.com/iterative/dvc/issues/10296, open. Seen:
#
#   size: after 1 came 2: Stage 'make' is cached - skipping run, checking out outputs; out.txt is 1
#   nfiles: after 1 came 2: Stage 'make' is cached - skipping run, checking out outputs; out.txt is 1
#   image_size: after 1 came 2: Running stage 'make':; out.txt is 2
#
# Fails (exit 1) when DVC does otherwise. Needs python3 (3.11), git, and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check dvc==3.67.1 pyyaml==6.0.3
export PATH="$folder/venv/bin:$PATH" DVC_NO_ANALYTICS=true

of_key() { # prints what DVC says of the second value, and what the output holds
  mkdir "$folder/$1"
  cd "$folder/$1"
  git init --quiet
  dvc init --quiet
  echo input > input.txt
  cat > make.py <<'PY'
import yaml
print(*yaml.safe_load(open("params.yaml"))["section"]["deep"].values(), file=open("out.txt", "w"))
PY
  cat > dvc.yaml <<'YAML'
stages:
  make: {cmd: python make.py, deps: [input.txt, make.py], params: [section], outs: [out.txt]}
YAML
  for value in 1 2; do
    printf 'section: {deep: {%s: %s}}\n' "$1" "$value" > params.yaml
    said=$(dvc repro 2>&1 | grep -E "^(Stage|Running)")
  done
  dvc status | grep -q "up to date"
  echo "$1: after 1 came 2: $said; out.txt is $(cat out.txt)"
}

cached="Stage 'make' is cached - skipping run, checking out outputs; out.txt is 1"
expected="size: after 1 came 2: $cached
nfiles: after 1 came 2: $cached
image_size: after 1 came 2: Running stage 'make':; out.txt is 2"
found=$(for key in size nfiles image_size; do of_key "$key"; done)
echo "$found"
[[ $found == "$expected" ]] || { printf 'DVC behaves differently now; expected:\n%s\n' "$expected" >&2; exit 1; }

#!/usr/bin/env bash
# DVC 3.67.1: a stage whose output differs from one machine to the next (training) ran here, and dvc.lock is put back to
# the commit's, `git restore dvc.lock`. Its inputs are as that lock says, so `dvc repro` wants the output of that lock, does
# not ask the run cache, which holds the one that was made here, and runs the stage again. With the lock that was written
# here, nothing runs. Seen:
#
#   under the lock written here: Stage 'train' didn't change, skipping
#   under the commit's lock: Running stage 'train':
#   with its run in the cache and no lock: Stage 'train' is cached - skipping run, checking out outputs
#
# Fails (exit 1) when DVC does otherwise. Needs python3 (3.11), git, and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check dvc==3.67.1
export PATH="$folder/venv/bin:$PATH" DVC_NO_ANALYTICS=true
git() { command git -c user.name=n -c user.email=e@localhost "$@"; }
said() { dvc repro 2>&1 | grep -E "^(Stage|Running)"; }

mkdir "$folder/first"
cd "$folder/first"
git init --quiet
dvc init --quiet
echo input > input.txt
printf 'import os\nprint("weights of", os.environ["MACHINE"], file=open("model.txt", "w"))\n' > train.py
printf 'stages:\n  train: {cmd: python train.py, deps: [input.txt, train.py], outs: [model.txt]}\n' > dvc.yaml
MACHINE=first dvc repro --quiet
git add -A
git commit --quiet -m "of the first machine"

git clone --quiet "$folder/first" "$folder/second"
cd "$folder/second"
export MACHINE=second
dvc repro --quiet
found="under the lock written here: $(said)"
git restore dvc.lock
found+=$'\n'"under the commit's lock: $(said)"
rm dvc.lock model.txt
found+=$'\n'"with its run in the cache and no lock: $(said)"
echo "$found"
expected="under the lock written here: Stage 'train' didn't change, skipping
under the commit's lock: Running stage 'train':
with its run in the cache and no lock: Stage 'train' is cached - skipping run, checking out outputs"
[[ $found == "$expected" ]] || { printf 'DVC behaves differently now; expected:\n%s\n' "$expected" >&2; exit 1; }

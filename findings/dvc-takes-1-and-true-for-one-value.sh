#!/usr/bin/env bash
# DVC compares params as Python does, where 1 == 1.0 == True and 0 == False. A params.yaml whose value goes from the number
# 1 to 1.0 or true differs in git, and may mean something else (`max_features` of scikit-learn's forests is one feature for
# 1, all features for 1.0), but `dvc params diff` sees no change, `dvc repro` skips the stage, and dvc.lock keeps the old
# value. Seen with DVC 3.67.1, after a run with 1:
#
#   1.0: Stage 'make' didn't change, skipping; params diff: nothing; out.txt has 1
#   true: Stage 'make' didn't change, skipping; params diff: nothing; out.txt has 1
#   2: Running stage 'make':; params diff: max_features; out.txt has 2
#
# Fails (exit 1) when DVC does otherwise. Needs python3 (3.11), git, and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --no-compile --disable-pip-version-check dvc==3.67.1 pyyaml==6.0.3
export PATH="$folder/venv/bin:$PATH" DVC_NO_ANALYTICS=true

mkdir "$folder/project"
cd "$folder/project"
git init --quiet
dvc init --quiet
cat > make.py <<'PY'
import yaml
print(yaml.safe_load(open("params.yaml"))["max_features"], file=open("out.txt", "w"))
PY
echo 'stages: {make: {cmd: python make.py, deps: [make.py], params: [max_features], outs: [out.txt]}}' > dvc.yaml
echo 'max_features: 1' > params.yaml
dvc repro --quiet
git add --all
git -c user.name=n -c user.email=e@localhost commit --quiet -m "ran with 1"

found=$(for value in 1.0 true 2; do
  echo "max_features: $value" > params.yaml
  differs=$(dvc params diff | grep -o max_features || echo nothing)
  said=$(dvc repro 2>&1 | grep -E "^(Stage|Running)")
  echo "$value: $said; params diff: $differs; out.txt has $(cat out.txt)"
done)
echo "$found"
skipped="Stage 'make' didn't change, skipping; params diff: nothing; out.txt has 1"
expected="1.0: $skipped
true: $skipped
2: Running stage 'make':; params diff: max_features; out.txt has 2"
[[ $found == "$expected" ]] || { printf 'DVC behaves differently now; expected:\n%s\n' "$expected" >&2; exit 1; }

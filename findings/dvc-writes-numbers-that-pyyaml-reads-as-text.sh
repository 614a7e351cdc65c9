#!/usr/bin/env bash
# DVC writes `learning_rate: 1e-05` for `dvc exp run --set-param learning_rate=0.00001`. To DVC, which follows YAML 1.2, that
# is a number. PyYAML follows YAML 1.1, where a number with an exponent needs a point: the stage that reads the same file with
# yaml.safe_load gets the text '1e-05', and learning rates from 0.0001 upwards, which DVC writes without an exponent, stay
# numbers. So a sweep breaks, or a comparison goes wrong, at its small values only. Upstream:
# https://github.com/iterative/dvc/issues/5971, closed; DVC's manual advises ruamel.yaml. Seen with DVC 3.67.1, PyYAML 6.0.3:
#
#   0.001: params.yaml has 0.001, the stage read float 0.001
#   0.0001: params.yaml has 0.0001, the stage read float 0.0001
#   0.00001: params.yaml has 1e-05, the stage read str '1e-05'
#
# Fails (exit 1) when it is otherwise. Needs python3 (3.11), git, and a package index for the first run.
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
cat > train.py <<'PY'
import yaml
rate = yaml.safe_load(open("params.yaml"))["learning_rate"]
print(type(rate).__name__, repr(rate), file=open("out.txt", "w"))
PY
echo 'stages: {train: {cmd: python train.py, deps: [train.py], params: [learning_rate], outs: [out.txt]}}' > dvc.yaml
echo 'learning_rate: 0.01' > params.yaml
git add --all
git -c user.name=n -c user.email=e@localhost commit --quiet -m "project"

found=$(for rate in 0.001 0.0001 0.00001; do
  dvc exp run --quiet --set-param "learning_rate=$rate" >&2
  echo "$rate: params.yaml has $(sed 's/learning_rate: //' params.yaml), the stage read $(cat out.txt)"
done)
echo "$found"
expected="0.001: params.yaml has 0.001, the stage read float 0.001
0.0001: params.yaml has 0.0001, the stage read float 0.0001
0.00001: params.yaml has 1e-05, the stage read str '1e-05'"
[[ $found == "$expected" ]] || { printf 'DVC or PyYAML behaves differently now; expected:\n%s\n' "$expected" >&2; exit 1; }

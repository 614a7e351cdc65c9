#!/usr/bin/env bash
# pyarrow 25.0.1: utf8_normalize(form="NFC") gives the decomposed form, NFD, as if NFD had been asked for; so does NFKC.
# Python's unicodedata composes. Seen, of an e with a diaeresis that is two characters:
#
#   pyarrow 'e\u0308', unicodedata '\xeb'
#
# Fails (exit 1) when pyarrow does otherwise. Needs python3 (3.11) and a package index for the first run.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check pyarrow==25.0.1
"$folder/venv/bin/python" - <<'PY'
import sys
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

text = "e\u0308"
theirs = pc.utf8_normalize(pa.array([text]), form="NFC")[0].as_py()
ours = unicodedata.normalize("NFC", text)
print(f"pyarrow {theirs!a}, unicodedata {ours!a}")
sys.exit(theirs == ours)
PY

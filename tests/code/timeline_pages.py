"""What a page of `fabnet timeline` holds, read back."""

import base64
import json
import re
from typing import Any

import numpy as np


def data_of(html: str) -> dict[str, Any]:
    """What the script of a page draws."""
    return json.loads(re.search(r'id="data">(.*?)</script>', html, re.DOTALL)[1])


def unpacked(text: str, series: dict[str, Any]) -> np.ndarray:
    """The values of a series, one for each sample, NaN where there was no face."""
    whole = np.frombuffer(base64.b64decode(text), "<u2" if series["wide"] else "u1").astype(float)
    missing = 65535 if series["wide"] else 255
    whole[whole == missing] = np.nan
    return series["low"] + whole * (series["high"] - series["low"]) / (missing - 1)

"""Quantiles."""

import math
from collections.abc import Sequence


def quantile(values: Sequence[float], part: float) -> float:
    """The least value that so large a part of them does not pass."""
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]

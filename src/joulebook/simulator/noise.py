"""Noise as a function of (stream, time): the same values at each call, on each machine.

The argument `number` is that of a `stream`, and `seconds` are since 1970 UTC.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def stream(seed: int, name: str) -> int:
    """Return the 64-bit number of the noise called `name`, for the home with this `seed`."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{name}".encode()).digest()[:8], "big")


def uniform(number: int, index: Ints) -> Floats:
    """Return one value in [0, 1) for each index, independent of its neighbours.

    The mixing function is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number
    generators", OOPSLA 2014), used as a hash of the index.
    """
    z = index.astype(np.uint64) * _GOLDEN + np.array(number, dtype=np.uint64)
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    fraction: Floats = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return fraction


def pick(number: int, index: int) -> float:
    """Return the one value of `uniform` at `index`, in [0, 1)."""
    return float(uniform(number, np.array([index], dtype=np.int64))[0])


def smooth(number: int, seconds: Ints, period: float) -> Floats:
    """Return value noise in [-1, 1): a random value every `period` seconds, joined by a smooth curve."""
    position = seconds / period
    cell = np.floor(position)
    index = cell.astype(np.int64)
    first = int(index.min())
    corners = 2.0 * uniform(number, np.arange(first, int(index.max()) + 2, dtype=np.int64)) - 1.0
    fraction = position - cell
    weight = fraction * fraction * (3.0 - 2.0 * fraction)
    left = corners[index - first]
    value: Floats = left + (corners[index - first + 1] - left) * weight
    return value


def grain(number: int, seconds: Ints) -> Floats:
    """Return noise with mean 0 and standard deviation 1, independent from second to second.

    Each value is the sum of two uniform ones: its distribution is a triangle from -2.45 to 2.45, without
    outliers.
    """
    both = uniform(number, 2 * seconds) + uniform(number, 2 * seconds + 1)
    return (both - 1.0) * math.sqrt(6.0)

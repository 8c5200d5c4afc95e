"""Random numbers that are the same on every machine: a counter run through a mixing function.

The mixer is splitmix64 (Steele, Lea and Flood, OOPSLA 2014): 64-bit integer arithmetic only, so no platform,
NumPy version or order of calls can change a bit. Every document owns a stream; its n-th number depends on the
seed, the document's index and n alone.
"""

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_FIRST_FACTOR = np.uint64(0xBF58476D1CE4E5B9)
_SECOND_FACTOR = np.uint64(0x94D049BB133111EB)


def mix(words: Words) -> Words:
    """Return uint64 words scrambled by splitmix64's finalizer, a bijection."""
    words = (words ^ (words >> np.uint64(30))) * _FIRST_FACTOR
    words = (words ^ (words >> np.uint64(27))) * _SECOND_FACTOR
    return words ^ (words >> np.uint64(31))


def stream_keys(seed: int, first: int, count: int) -> Words:
    """Return the keys, uint64 [count], of the streams `first`, `first` + 1, ... of `seed` (64 bits used)."""
    root = mix(np.array([seed % 2**64], dtype=np.uint64))
    return mix(root + np.arange(first, first + count, dtype=np.uint64) * _GAMMA)


def below(keys: Words, counters: Words, bounds: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return one number per stream, int64, uniform in 0..bound-1 for bounds below 2**32.

    Each number is floor(bound * u / 2**32) with 32 random bits u: its bias, at most bound / 2**32, is far below
    anything a loss could show.
    """
    bits = mix(keys + (counters + np.uint64(1)) * _GAMMA) >> np.uint64(32)
    return ((bits * bounds.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)

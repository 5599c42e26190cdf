"""Randomness as a function of its key: nothing to replay, nothing that depends on the order.

Sequential draws (the order of an epoch, the exploration of a step, the bootstrap) come from numpy's
Philox under the key (seed, purpose, j); the compiled search for puzzles has streams of its own.
Draws for many keys at once (member k of puzzle i) come from a hash of the key, which vectorises.
The symmetries of a square, by which more than one task makes its members, stand here, too.
"""

import zlib

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def generator(seed: int, purpose: str, index: int) -> np.random.Generator:
    """The random stream of (seed, purpose, index), independent of every other."""
    key = np.array([seed, zlib.crc32(purpose.encode())], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=[0, 0, 0, index]))


def mix(words: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser (Steele et al. 2014): a bijection of uint64 that scatters well."""
    words = words + _GOLDEN
    words = (words ^ (words >> np.uint64(30))) * _MIX_1
    words = (words ^ (words >> np.uint64(27))) * _MIX_2
    return words ^ (words >> np.uint64(31))


def member_words(seed: int, puzzle: np.ndarray, member: np.ndarray, count: int) -> np.ndarray:
    """Random words for member ``member[b]`` of puzzle ``puzzle[b]``: uint64 ``[B, count]``."""
    key = mix(np.array([seed], dtype=np.uint64))
    key = mix(key ^ puzzle.astype(np.uint64))
    key = mix(key ^ member.astype(np.uint64))
    return mix(key[:, None] + np.arange(count, dtype=np.uint64) * _GOLDEN)


def dihedral(size: int) -> np.ndarray:
    """The eight symmetries of a square: ``board[dihedral(n)[g]]`` is image g; image 0 is itself."""
    grid = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(flipped, turn) for flipped in (grid, grid.T) for turn in range(4)]
    return np.stack([turned.reshape(-1) for turned in turns])

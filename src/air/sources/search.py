"""Searching for puzzles, compiled: a Sudoku solver that digs and climbs, and walls for mazes.

Each `*_attempt` is a function of (seed, attempt) alone, so that any number of threads finds the
same puzzles. Sets of digits are bit masks (bit d - 1 for digit d). The compiled code is kept in
__pycache__; the first use on a machine takes some seconds.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numpy import uint64

Array = np.ndarray
F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """``function`` compiled, or as it is where there is no numba: fast enough for a few puzzles."""
    try:
        from numba import njit
    except ModuleNotFoundError:  # it is not in the base install, whose `air solve` checks puzzles
        return function
    compiled_function: Any = njit(nogil=True, cache=True)(function)
    return cast(F, compiled_function)


@compiled
def scatter(word: Any) -> Any:
    """SplitMix64's finaliser (Steele et al. 2014)."""
    word = (word ^ (word >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> uint64(27))) * uint64(0x94D049BB133111EB)
    return word ^ (word >> uint64(31))


@compiled
def stream(seed: int, attempt: int) -> Array:
    """The state, uint64 [1], of the random stream of an attempt."""
    state = np.empty(1, np.uint64)
    state[0] = scatter(scatter(uint64(seed) + uint64(1)) ^ uint64(attempt))
    return state


@compiled
def draw(state: Array, bound: int) -> Any:
    """A whole number in 0..bound-1; advances ``state`` (SplitMix64)."""
    state[0] += uint64(0x9E3779B97F4A7C15)
    return np.int64(scatter(state[0]) % uint64(bound))


@compiled
def shuffle(items: Array, state: Array) -> None:
    """Fisher and Yates, in place."""
    for last in range(len(items) - 1, 0, -1):
        other = draw(state, last + 1)
        items[last], items[other] = items[other], items[last]


@compiled
def count_bits(mask: int) -> int:
    count = 0
    while mask:
        mask &= mask - 1
        count += 1
    return count


@compiled
def set_digit(board: Array, used: Array, unit: Array, cell: int, bit: int) -> None:
    """Write the digit of ``bit`` (into an empty cell) or, if it stands there, erase it."""
    for kind in range(3):
        used[kind, unit[kind, cell]] ^= bit
    if board[cell]:
        board[cell] = 0
    else:
        digit = 0
        while bit:
            bit >>= 1
            digit += 1
        board[cell] = digit


@compiled
def solve(
    unit: Array,
    size: int,
    givens: Array,
    allowed: Array,
    limit: int,
    state: Array,
    solution: Array,
) -> tuple[int, int]:
    """Look for up to ``limit`` solutions: (how many were found, dead ends).

    Naked singles, then hidden singles, then a guess at a cell with the fewest candidates. The dead
    ends of the whole search, in which every wrong guess is refuted, rate a puzzle.

    Args:
        unit: row, column and box of each cell [3, cells].
        givens: digits, 0 for blank [cells].
        allowed: digits that each cell may take [cells].
        state: random stream that picks the first guess at a cell; its digits in order if zero.
        solution: receives the first solution [cells].
    """
    cells = size * size
    full = (1 << size) - 1
    used = np.zeros((3, size), np.int64)
    board = np.zeros(cells, np.int8)
    for cell in range(cells):
        if givens[cell]:
            bit = 1 << (int(givens[cell]) - 1)
            for kind in range(3):
                if used[kind, unit[kind, cell]] & bit:
                    return 0, 0
            set_digit(board, used, unit, cell, bit)
    written, trail = 0, np.empty(cells, np.int64)  # cells in the order they were written
    depth = 0  # open guesses: the length of the trail before each, and the digits not tried yet
    guess_at, guess_left = np.empty(cells, np.int64), np.empty(cells, np.int64)
    once, twice = np.zeros((3, size), np.int64), np.zeros((3, size), np.int64)
    candidates = np.zeros(cells, np.int64)
    found = dead_ends = 0
    while True:
        # one sweep: naked singles are written at once; without any, each unit knows which digits
        # have one place and which have more
        dead, wrote, blanks = False, False, 0
        fewest, best = size + 1, -1
        once[:], twice[:] = 0, 0
        for cell in range(cells):
            if board[cell]:
                continue
            mask = full & allowed[cell]
            for kind in range(3):
                mask &= ~used[kind, unit[kind, cell]]
            if mask == 0:
                dead = True
                break
            if mask & (mask - 1) == 0:
                set_digit(board, used, unit, cell, mask)
                trail[written] = cell
                written += 1
                wrote = True
            elif not wrote:
                blanks += 1
                candidates[cell] = mask
                for kind in range(3):
                    group = unit[kind, cell]
                    twice[kind, group] |= once[kind, group] & mask
                    once[kind, group] |= mask
                count = count_bits(mask)
                if count < fewest:
                    fewest, best = count, cell
        if wrote and not dead:
            continue
        if not dead and blanks:
            for kind in range(3):
                for group in range(size):
                    if (once[kind, group] | used[kind, group]) != full:
                        dead = True  # a digit has no place left
        if not dead and blanks:
            for cell in range(cells):
                if board[cell]:
                    continue
                hidden = 0
                for kind in range(3):
                    group = unit[kind, cell]
                    hidden |= once[kind, group] & ~twice[kind, group]
                hidden &= candidates[cell]
                for kind in range(3):  # a hidden single before may have taken it
                    hidden &= ~used[kind, unit[kind, cell]]
                if hidden:
                    set_digit(board, used, unit, cell, hidden & -hidden)
                    trail[written] = cell
                    written += 1
                    wrote = True
            if wrote:
                continue
            skip = draw(state, fewest) if state[0] else 0
            bit = candidates[best]
            for _ in range(skip):
                bit &= bit - 1
            bit &= -bit
            guess_at[depth], guess_left[depth] = written, candidates[best] & ~bit
            depth += 1
            set_digit(board, used, unit, best, bit)
            trail[written] = best
            written += 1
            continue
        if dead:
            dead_ends += 1
        else:
            if found == 0:
                solution[:] = board
            found += 1
            if found == limit:
                return found, dead_ends
        if depth == 0:
            return found, dead_ends
        # back to the last guess, whose next digit takes its place
        at = guess_at[depth - 1]
        cell = trail[at]
        while written > at:
            written -= 1
            undone = trail[written]
            set_digit(board, used, unit, undone, 1 << (int(board[undone]) - 1))
        bit = guess_left[depth - 1] & -guess_left[depth - 1]
        guess_left[depth - 1] &= ~bit
        if guess_left[depth - 1] == 0:
            depth -= 1  # the last digit left is no guess
        set_digit(board, used, unit, cell, bit)
        trail[written] = cell
        written += 1


@compiled
def dig(
    unit: Array, size: int, givens: Array, order: Array, clues: int, allowed: Array
) -> tuple[Any, int]:
    """Blank givens in this order while the solution stays unique and more than ``clues`` are left.

    With ``clues`` 0 the result is minimal: no given can be spared. Returns the givens left and the
    rating. In place; ``allowed`` must allow everything.
    """
    full = (1 << size) - 1
    no_random, solution = np.zeros(1, np.uint64), np.empty(len(givens), np.int8)
    left = np.int64(0)
    for cell in range(len(givens)):
        left += givens[cell] != 0
    for cell in order:
        digit = givens[cell]
        if left == clues or not digit:
            continue
        # spared, if the cell can take no other digit
        givens[cell], allowed[cell] = 0, full & ~(1 << (digit - 1))
        others, _ = solve(unit, size, givens, allowed, 1, no_random, solution)
        allowed[cell] = full
        if others:
            givens[cell] = digit
        else:
            left -= 1
    _, dead_ends = solve(unit, size, givens, allowed, 2, no_random, solution)
    return left, dead_ends


CLIMBS = 100  # times that a puzzle is dug anew in search of a higher rating ...
RESTORED = 10  # ... after so many of its cells (givens among them) were filled in again


@compiled
def sudoku_attempt(
    unit: Array,
    size: int,
    clues: int,
    at_least: int,
    at_most: int,
    seed: int,
    attempt: int,
    givens: Array,
    solution: Array,
) -> int:
    """The puzzle of an attempt: its rating, or -1 if it has too many clues or another rating.

    A random grid is dug; while the puzzle is rated below ``at_least``, some cells are filled in
    again and the grid is dug anew, and what is rated no lower is kept.
    """
    cells = size * size
    state = stream(seed, attempt)
    allowed = np.full(cells, (1 << size) - 1, np.int64)
    givens[:] = 0
    solve(unit, size, givens, allowed, 1, state, solution)
    givens[:] = solution
    order = np.arange(cells)
    shuffle(order, state)
    left, rating = dig(unit, size, givens, order, clues, allowed)
    trial = np.empty_like(givens)
    for _ in range(CLIMBS):
        if rating >= at_least or (clues and left != clues):
            break
        trial[:] = givens
        for _ in range(RESTORED):
            cell = draw(state, cells)
            trial[cell] = solution[cell]
        shuffle(order, state)
        trial_left, trial_rating = dig(unit, size, trial, order, clues, allowed)
        if trial_rating >= rating and (not clues or trial_left == clues):
            left, rating, givens[:] = trial_left, trial_rating, trial
    if (clues and left != clues) or not at_least <= rating <= at_most:
        return -1
    return rating


@compiled
def neighbour(cell: int, direction: int, size: int) -> int:
    """The cell above, below, left or right (direction 0..3); -1 beyond the edge."""
    if direction == 0:
        return cell - size if cell >= size else -1
    if direction == 1:
        return cell + size if cell < size * (size - 1) else -1
    if direction == 2:
        return cell - 1 if cell % size else -1
    return cell + 1 if (cell + 1) % size else -1


@compiled
def walk(free: Array, size: int, start: int, steps: Array, ways: Array, queue: Array) -> int:
    """Breadth-first search from ``start`` over free cells: how many were reached.

    Fills ``steps`` to each cell (-1: not reached), ``ways``, the number of shortest paths (2 for
    more), and ``queue``, the reached cells by distance; each [cells].
    """
    steps[:], ways[:] = -1, 0
    steps[start], ways[start], queue[0] = 0, 1, start
    head, tail = 0, 1
    while head < tail:
        cell = queue[head]
        head += 1
        for direction in range(4):
            near = neighbour(cell, direction, size)
            if near < 0 or not free[near]:
                continue
            if steps[near] < 0:
                steps[near] = steps[cell] + 1
                queue[tail] = near
                tail += 1
            if steps[near] == steps[cell] + 1:
                ways[near] = min(ways[near] + ways[cell], 2)
    return tail


@compiled
def maze_attempt(
    size: int, walls: float, min_path: int, seed: int, attempt: int, free: Array, path: Array
) -> tuple[int, int]:
    """The maze of an attempt: (start, goal), or (-1, -1) if no shortest path is long enough.

    Walls and the start are random, the goal is drawn among the cells whose shortest path has at
    least ``min_path`` cells. While that path is not the only shortest one, a random cell of
    another is walled off. Fills ``free`` and ``path`` (start and goal included), bool [cells].
    """
    cells = size * size
    state = stream(seed, attempt)
    for cell in range(cells):
        free[cell] = draw(state, 1 << 30) >= walls * (1 << 30)
    steps, ways = np.empty(cells, np.int64), np.empty(cells, np.int64)
    queue, from_goal = np.empty(cells, np.int64), np.empty(cells, np.int64)
    start = draw(state, cells)
    if not free[start]:
        return -1, -1
    reached = walk(free, size, start, steps, ways, queue)
    near = reached
    while near > 0 and steps[queue[near - 1]] + 1 >= min_path:
        near -= 1
    if near == reached:
        return -1, -1
    goal = queue[near + draw(state, reached - near)]
    length = steps[goal]
    path[:] = False
    path[goal] = True
    cell = goal
    while cell != start:
        chosen, choices = -1, 0
        for direction in range(4):
            back = neighbour(cell, direction, size)
            if back >= 0 and steps[back] >= 0 and steps[back] == steps[cell] - 1:
                choices += 1
                if draw(state, choices) == 0:
                    chosen = back
        cell = chosen
        path[cell] = True
    while ways[goal] > 1:
        walk(free, size, goal, from_goal, ways, queue)
        chosen, choices = -1, 0
        for cell in range(cells):
            if steps[cell] >= 0 and not path[cell] and steps[cell] + from_goal[cell] == length:
                choices += 1
                if draw(state, choices) == 0:
                    chosen = cell
        free[chosen] = False
        walk(free, size, start, steps, ways, queue)
    return start, goal

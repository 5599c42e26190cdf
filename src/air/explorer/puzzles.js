// What the page knows of a task besides its facts: rules, answers, and how a board is edited.
// A task that is not here is shown, but cannot be edited.

const BLANK = 1; // Sudoku; digit k is k + 1
const [WALL, FREE, START, GOAL, PATH] = [1, 2, 3, 4, 5]; // Maze
const MOST_GUESSES = 100000;

/** { count: 0, 1, 2 (or more), answer } of a Sudoku; count is null where the search is too long. */
function sudoku_answers(task, question) {
  const board = Uint8Array.from(question), digits = task.vocabulary.length - 2;
  let count = 0, answer = null, guesses = 0;
  const open = (cell) => {
    let free = ((1 << digits) - 1) << 2;
    for (const peer of task.peers[cell]) free &= ~(1 << board[peer]);
    return free;
  };
  const ones = (bits) => {
    let number = 0;
    for (; bits; bits &= bits - 1) number++;
    return number;
  };
  if (conflicts(task, board).some(Boolean)) return { count: 0, answer };
  const search = () => {
    let best = -1, choices = 0, fewest = digits + 1;
    for (let cell = 0; cell < board.length && fewest > 1; cell++) {
      if (board[cell] !== BLANK) continue;
      const free = open(cell), number = ones(free);
      if (number < fewest) [best, choices, fewest] = [cell, free, number];
    }
    if (best < 0) {
      if (!count++) answer = Uint8Array.from(board);
      return;
    }
    for (let digit = 2; digit < digits + 2 && count < 2 && guesses <= MOST_GUESSES; digit++) {
      if (!(choices & (1 << digit))) continue;
      guesses++;
      board[best] = digit;
      search();
      board[best] = BLANK;
    }
  };
  search();
  if (guesses > MOST_GUESSES && count < 2) return { count: null, answer: null };
  return { count, answer: count === 1 ? answer : null };
}

/** Cells that share their digit with a peer. */
function conflicts(task, board) {
  return Array.from(board, (token, cell) =>
    token > BLANK && task.peers[cell].some((peer) => board[peer] === token));
}

/** The same of a maze: how many shortest paths lead from start to goal. */
function maze_answers(task, question) {
  const board = Uint8Array.from(question), start = board.indexOf(START), goal = board.indexOf(GOAL);
  const steps = new Map([[start, 0]]), ways = new Map([[start, 1]]), before = new Map();
  for (const cell of steps.keys()) { // cells found on the way are visited after those before
    for (const next of task.peers[cell]) {
      if (board[next] === WALL) continue;
      if (!steps.has(next)) {
        steps.set(next, steps.get(cell) + 1);
        ways.set(next, 0);
        before.set(next, cell);
      }
      if (steps.get(next) === steps.get(cell) + 1) {
        ways.set(next, Math.min(2, ways.get(next) + ways.get(cell)));
      }
    }
  }
  const count = ways.get(goal) ?? 0;
  if (count !== 1) return { count, answer: null };
  for (let cell = before.get(goal); cell !== start; cell = before.get(cell)) board[cell] = PATH;
  return { count, answer: board };
}

/** A Sudoku from its characters, or a sentence that says what is wrong with them. */
function sudoku_from(task, text) {
  const characters = [...text.replace(/\s/g, "").toUpperCase()], cells = task.rows * task.columns;
  if (characters.length !== cells) {
    return `A Sudoku of this size has ${cells} characters, row by row, not ${characters.length}.`;
  }
  const board = characters.map((c) => (".0_".includes(c) ? BLANK : task.vocabulary.indexOf(c, 2)));
  const wrong = board.indexOf(-1);
  if (wrong < 0) return board;
  const last = task.vocabulary.at(-1);
  return `Character ${wrong + 1}, “${characters[wrong]}”, is none of 1 to ${last} or . for a blank.`;
}

const differs = (task, board, answer) => Array.from(board, (token, i) => !!answer && token !== answer[i]);

const KNOWN = {
  sudoku: {
    answers: sudoku_answers,
    violations: conflicts,
    faults: conflicts, // of a question, which has no answer yet
    complete: () => true,
    read: sudoku_from,
    hint: "Choose a cell and type a digit; 0 or Delete empties it.",
    outcomes: ["This Sudoku has no solution.", "", "This Sudoku has several solutions."],
    /** The board with a key typed in a cell, or null if the key means nothing. */
    typed(task, board, cell, key) {
      const digit = task.vocabulary.indexOf(key.toUpperCase(), 2);
      const token = ["0", ".", "Delete", "Backspace"].includes(key) ? BLANK : digit;
      return token > 0 ? board.map((old, i) => (i === cell ? token : old)) : null;
    },
  },
  maze: {
    answers: maze_answers,
    violations: differs,
    complete: (board) => !board.includes(PATH) &&
      [START, GOAL].every((end) => board.filter((token) => token === end).length === 1),
    hint: "Click a cell, or press Enter on it, to build or remove a wall. Press S or G to move the start or the goal to it.",
    outcomes: [
      "No path leads from start to goal.",
      "",
      "Several shortest paths lead from start to goal, so that no answer is marked.",
    ],
    /** S and G move the start and the goal; one that comes to lie on the other takes its place. */
    typed(task, board, cell, key) {
      const end = { S: START, G: GOAL }[key.toUpperCase()], from = board.indexOf(end);
      if (!end || from === cell) return null;
      const other = board[cell] === START || board[cell] === GOAL ? board[cell] : FREE;
      return board.map((old, i) => (i === cell ? end : i === from ? other : old));
    },
    toggled(task, board, cell) {
      const swap = { [WALL]: FREE, [FREE]: WALL };
      return board[cell] in swap ? board.map((old, i) => (i === cell ? swap[old] : old)) : null;
    },
  },
};

const rules_of = (task) => KNOWN[task.name] ?? { violations: differs };

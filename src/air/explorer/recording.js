// A rollout that was recorded (recording.py), with the methods of Rollout of model.js.

export class Recorded {
  /** Of the puzzle of this number. `about` is the model's facts, `bytes` the whole recording. */
  constructor(about, bytes, puzzle, cells) {
    const { segments, updates, L_cycles, recorded } = about, steps = segments * updates;
    const boards = 2 * (1 + steps) * cells, rows = 2 * recorded.segments.length * cells;
    const before = recorded.cells.slice(0, puzzle).reduce((sum, queries) => sum + boards + rows * queries.length, 0);
    const queries = recorded.cells[puzzle];
    Object.assign(this, { updates, L_cycles, cells, queries, segments: recorded.segments, substeps: steps });
    this.boards = bytes.subarray(before, before + boards / 2);
    this.margins = bytes.subarray(before + boards / 2, before + boards);
    this.roots = bytes.subarray(before + boards, before + boards + rows * queries.length);
    this.computed = 0; // sub-steps
  }

  step() {
    return this.computed < this.substeps && Boolean(++this.computed);
  }

  /** The board and margins of the last update of this level up to sub-step t; the first is z_H's start. */
  shown(level, t) {
    const of_L = (step) => step % (this.L_cycles + 1) < this.L_cycles;
    let step = t;
    while (step >= 0 && of_L(step) !== (level === "L")) step--;
    const part = (bytes) => bytes.slice((step + 1) * this.cells, (step + 2) * this.cells);
    return { board: part(this.boards), margin: Float32Array.from(part(this.margins), (byte) => byte / 255) };
  }

  /** As Rollout's, but the mean over layers and heads, and of kept updates and cells alone. */
  attention(t, cell) {
    if (!this.queries.length) return []; // a model without attention
    const segment = this.segments.indexOf(Math.floor(t / this.updates)), is_H = t % this.updates ? 1 : 0;
    const at = ((2 * segment + is_H) * this.queries.length + this.queries.indexOf(cell)) * this.cells;
    const squares = Float32Array.from(this.roots.subarray(at, at + this.cells), (root) => root * root);
    const sum = squares.reduce((one, other) => one + other);
    return [squares.map((square) => square / sum)];
  }
}

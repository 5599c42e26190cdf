// The page itself, after puzzles.js: what is shown follows from `view`, which the address holds.

const facts = JSON.parse(document.getElementById("facts").textContent);
const by = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const COUNTS = ["right", "undecided", "changed"]; // of cells; their colours are in explorer.css
const TICK = 180; // milliseconds of a sub-step in play

const tasks = facts.tasks.filter((task) => facts.models.some((model) => model.task === task.name));
const view = { task: "", a: "", b: "", puzzle: 0, board: null, t: 0, layer: "mean", head: "mean",
  freeze: "", from: 1, cell: 0, margin: true };
let task, question, answer, hovered = null, playing = null, later = 0;
const panes = []; // one for each variant shown

const make = (tag, attributes = {}, parent = null) => {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return parent ? parent.appendChild(node) : node;
};
const element = (tag, text = "", parent = null, name = "") => {
  const node = Object.assign(document.createElement(tag), { textContent: text, className: name });
  return parent ? parent.appendChild(node) : node;
};
const fill = (select, entries, chosen) => {
  select.replaceChildren(...entries.map(([value, text]) => new Option(text, value)));
  select.value = chosen;
};
const models_of = (name) => facts.models.filter((model) => model.task === name);
const place = (cell) => `row ${Math.floor(cell / task.columns) + 1}, column ${(cell % task.columns) + 1}`;
const percent = (share) => `${(100 * share).toFixed(share < .1 ? 1 : 0)}%`;
const chosen_models = () =>
  [view.a, view.b].filter(Boolean).map((id) => facts.models.find((model) => model.id === id));
const recordings = () => chosen_models().filter((model) => model.recorded);
/** A fill of the report; one that is nearly black, as walls are, is light where the page is dark. */
const shade_of = (fill) => {
  const channels = fill.match(/[0-9a-f]{2}/gi).map((part) => parseInt(part, 16));
  if (Math.max(...channels) > 96) return fill;
  return `light-dark(${fill}, rgb(${channels.map((channel) => 204 - channel).join(" ")}))`;
};

// Boards --------------------------------------------------------------------------------------------

/** An SVG of the task's size, of which every cell can be pointed at and chosen by keys. */
class Board {
  constructor(parent, name, { editable = false } = {}) {
    const { rows, columns } = task, svg = make("svg", { viewBox: `-.04 -.04 ${columns + .08} ${rows + .08}` });
    Object.assign(this, { svg, name, editable, cells: [], texts: [] });
    svg.setAttribute("tabindex", 0);
    svg.setAttribute("role", editable ? "application" : "img");
    for (let cell = 0; cell < rows * columns; cell++) {
      const x = cell % columns, y = Math.floor(cell / columns);
      this.cells.push(make("rect", { x, y, width: 1, height: 1 }, svg));
      this.texts.push(make("text", { x: x + .5, y: y + .71 }, svg));
    }
    const box = task.look.box;
    for (let at = 0; at <= columns; at++) this.line(at, 0, at, rows, at % (box ? box[1] : columns));
    for (let at = 0; at <= rows; at++) this.line(0, at, columns, at, at % (box ? box[0] : rows));
    const width = Math.max(.06, columns / 180);
    const path = (kind, wide) => make("path", { class: kind, "stroke-width": wide }, svg);
    this.broken = path("broken", .07);
    this.near = path("near", width * 1.4);
    this.chosen = path("chosen", width * 1.6);
    svg.addEventListener("pointermove", (event) => this.point(event));
    svg.addEventListener("pointerleave", () => point_at(null));
    svg.addEventListener("click", (event) => {
      choose(this.at(event));
      if (editable) take(rules_of(task).toggled?.(task, question, view.cell));
    });
    svg.addEventListener("focus", () => choose(view.cell));
    svg.addEventListener("keydown", (event) => this.key(event));
    parent.replaceChildren(svg);
  }

  line(x1, y1, x2, y2, thin) {
    const wide = Math.max(thin ? .02 : .06, (thin ? .3 : 1) * task.columns / 260);
    make("line", { x1, y1, x2, y2, "stroke-width": wide }, this.svg);
  }

  at(event) {
    const { left, top, width, height } = this.svg.getBoundingClientRect(), { rows, columns } = task;
    const within = (share, most) => Math.min(most - 1, Math.max(0, Math.floor(share * most)));
    const row = within((event.clientY - top) / height, rows);
    return row * columns + within((event.clientX - left) / width, columns);
  }

  point(event) {
    if (event.pointerType === "mouse") point_at(this.at(event));
  }

  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const { rows, columns } = task, row = Math.floor(view.cell / columns), column = view.cell % columns;
    const to = { ArrowUp: [row - 1, column], ArrowDown: [row + 1, column], ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1] }[event.key];
    if (to) {
      choose(Math.min(rows - 1, Math.max(0, to[0])) * columns + Math.min(columns - 1, Math.max(0, to[1])));
    } else if (this.editable && (event.key === "Enter" || event.key === " ")) {
      take(rules_of(task).toggled?.(task, question, view.cell));
    } else if (!this.editable || !take(rules_of(task).typed?.(task, question, view.cell, event.key))) {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }

  /** Cells as the report draws them (reporting/boards.py). */
  show(board, { violations = [], margin = null } = {}) {
    const symbols = task.vocabulary, { fills } = task.look;
    board.forEach((token, cell) => {
      const undecided = token === task.undecided, given = question[cell] === (answer ?? question)[cell];
      const wrong = answer && token !== answer[cell] && token !== question[cell] && !undecided;
      const colour = undecided ? "var(--none)" : fills[token] ? shade_of(fills[token]) : "var(--cell)";
      const sure = margin && !undecided ? .25 + .75 * margin[cell] : 1;
      const pale = `color-mix(in srgb, ${colour} ${100 * sure}%, var(--cell))`;
      const rest = fills[token] ? 80 : 65; // of the fill, on which the symbol must remain readable
      this.cells[cell].style.fill = wrong ? `color-mix(in srgb, ${pale} ${rest}%, var(--wrong))` : pale;
      const symbol = symbols[token], hidden = undecided || (fills[token] && "#o".includes(symbol));
      this.texts[cell].textContent = hidden ? "" : symbol;
      this.texts[cell].style.fillOpacity = sure;
      const kinds = { given: given && question[cell] !== task.mask, filled: fills[token] && sure > .6 };
      this.texts[cell].setAttribute("class", Object.keys(kinds).filter((kind) => kinds[kind]).join(" "));
    });
    const frames = violations.map((is, cell) => (is && board[cell] !== task.undecided ? this.frame(cell) : ""));
    this.broken.setAttribute("d", frames.join(""));
  }

  /** Shades: a share per cell; the largest is black, or white where the page is dark. */
  shade(shares, most) {
    shares.forEach((share, cell) => {
      this.cells[cell].style.fill = `color-mix(in srgb, var(--most) ${(92 * share) / (most || 1)}%, var(--cell))`;
    });
  }

  frame(cell) {
    const x = (cell % task.columns) + .06, y = Math.floor(cell / task.columns) + .06;
    return `M${x} ${y}h.88v.88h-.88z`;
  }

  /** The frame of the chosen cell, and where asked for the line around its neighbourhood. */
  mark(cell, outlined = false) {
    this.chosen.setAttribute("d", this.frame(cell));
    const near = new Set(outlined ? task.near[cell] : []), { columns } = task, parts = [];
    for (const one of near) {
      const x = one % columns, y = Math.floor(one / columns);
      if (!near.has(one - columns)) parts.push(`M${x} ${y}h1`);
      if (!near.has(one + columns)) parts.push(`M${x} ${y + 1}h1`);
      if (!x || !near.has(one - 1)) parts.push(`M${x} ${y}v1`);
      if (x === columns - 1 || !near.has(one + 1)) parts.push(`M${x + 1} ${y}v1`);
    }
    this.near.setAttribute("d", parts.join(""));
  }

  label(text) {
    this.svg.setAttribute("aria-label", text);
  }
}

// Panes: a variant with its worker, boards, time lines and maps ------------------------------------

const source = new Blob([by("worker").textContent], { type: "text/javascript" });

class Pane {
  constructor(number) {
    this.worker = new Worker(URL.createObjectURL(source));
    this.worker.onerror = ({ message }) => (by("message").textContent = `The model cannot run: ${message}`);
    this.worker.onmessage = ({ data }) => this.hear(data);
    this.job = 1e6 * number;
    this.loaded = "";
    this.root = element("div", "", by("panes"), "pane");
    this.below = element("div", "", by("maps"), "pane");
  }

  /** Compute `model` on the question anew. */
  run(model) {
    this.model = model;
    this.segments = model.segments;
    this.job++;
    this.steps = []; // { L, H } by sub-step
    this.waiting = null; // the attention that has been asked for
    this.build();
    const message = { job: this.job, inputs: question, frozen: view.freeze || null, begin: view.from - 1 };
    if (model.recorded) Object.assign(message, { about: model, puzzle: view.puzzle });
    if (this.loaded !== model.id) {
      const bytes = Uint8Array.from(atob(by(model.id).textContent), (c) => c.charCodeAt(0));
      message.file = bytes.buffer;
      this.loaded = model.id;
    }
    this.worker.postMessage(message);
  }

  build() {
    const head = (parent, small) => {
      const title = element("h3", `${this.model.variant} `, parent);
      element("small", small, title);
      return title;
    };
    this.root.replaceChildren();
    this.below.replaceChildren();
    const solved = this.model.solved === null ? "" : `, solves ${percent(this.model.solved)} of the test puzzles`;
    const recorded = this.model.recorded ? ", recorded" : "";
    this.progress = element("progress", "", head(this.root, `seed ${this.model.seed}${solved}${recorded}`));
    this.progress.max = this.length;
    this.progress.setAttribute("aria-label", `Sub-steps of ${this.model.variant} computed`);
    head(this.below, `seed ${this.model.seed}`);
    const pair = element("div", "", this.root, "pair"), maps = element("div", "", this.below, "pair");
    this.parts = {};
    for (const level of ["L", "H"]) {
      const part = element("div", "", pair), map = element("div", "", maps);
      element("h4", `z_${level}${view.freeze === level ? ", frozen" : ""}`, part);
      const board = new Board(element("div", "", part, "board"), `z_${level}`);
      const line = make("svg", { class: "line", preserveAspectRatio: "none", role: "img" }, part);
      line.addEventListener("click", (event) => {
        const { left, width } = line.getBoundingClientRect();
        go(Math.floor(((event.clientX - left) / width) * this.length));
      });
      const title = element("h4", `${level}-update`, map);
      const shades = new Board(element("div", "", map, "board"), `attention of the ${level}-update`);
      this.parts[level] = { board, line, counts: element("p", "", part, "counts"), title, shades,
        share: element("p", "", map, "share") };
    }
  }

  get length() {
    return this.segments * this.model.updates;
  }

  /** The sub-step that it shows: of a rollout shorter than the one beside it, at most the last. */
  get t() {
    return Math.min(view.t, this.length - 1);
  }

  hear(data) {
    if (data.job !== this.job) return;
    if (data.query) {
      this.waiting = null;
      if (data.rows && data.query.cell === this.cell && data.query.at === view.t) this.attended(data);
      else if (data.rows) this.ask();
      return;
    }
    const before = this.steps[data.t - 1];
    this.steps[data.t] = { L: data.L, H: data.H };
    for (const level of ["L", "H"]) {
      const { board } = data[level], count = (is) => board.reduce((sum, token, i) => sum + is(token, i), 0);
      data[level].violations = rules_of(task).violations(task, board, answer);
      data[level].right = answer ? count((token, i) => token === answer[i]) : 0;
      data[level].undecided = count((token) => token === task.undecided);
      data[level].changed = before ? count((token, i) => token !== before[level].board[i]) : 0;
    }
    const last = this.steps.length === this.length;
    if (data.t === this.t || data.t === this.asked_until || last) this.show();
    else this.draw_soon();
  }

  draw_soon() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.lines();
    });
  }

  show() {
    const step = this.steps[this.t];
    this.lines();
    for (const [level, { board, counts }] of Object.entries(this.parts)) {
      board.mark(query_cell());
      if (!step) continue;
      const { board: tokens, margin, violations, ...numbers } = step[level];
      board.show(tokens, { violations, margin: view.margin ? margin : null });
      counts.replaceChildren();
      for (const name of COUNTS) {
        if (name === "right" && !answer) continue;
        element("span", `${name} ${numbers[name]}`, counts).style.setProperty("--of", `var(--${name})`);
      }
    }
    this.name();
    this.ask();
  }

  /** What a screen reader says of the boards, the chosen cell included. */
  name() {
    const step = this.steps[this.t];
    if (!step) return;
    for (const [level, { board }] of Object.entries(this.parts)) {
      const { board: tokens, right, undecided, changed } = step[level];
      const counted = answer ? `${right} of ${tokens.length} cells right, ` : "";
      board.label(`${this.model.variant}, z_${level} after sub-step ${this.t + 1}: ${counted}${undecided} ` +
        `undecided, ${changed} changed; ${place(view.cell)} shows ${word_of(tokens[view.cell])}`);
    }
  }

  lines() {
    const cells = task.rows * task.columns, length = this.length;
    this.progress.value = this.steps.length;
    this.progress.className = this.steps.length < length ? "" : "done";
    for (const [level, { line }] of Object.entries(this.parts)) {
      line.setAttribute("viewBox", `0 ${-.03 * cells} ${length} ${1.06 * cells}`);
      line.setAttribute("aria-label",
        `Time line of ${this.model.variant}, z_${level}: cells right, undecided and changed by sub-step`);
      const parts = [];
      const path = (d, kind) => make("path", { d, class: kind });
      for (let at = 0; at <= length; at += this.model.updates) {
        parts.push(path(`M${at} 0V${cells}`, "segment"));
      }
      parts.push(path(`M0 ${cells}H${length}`, "base"));
      for (const name of COUNTS) {
        if (name === "right" && !answer) continue;
        const points = this.steps.map((step, t) => `${t + .5} ${cells - step[level][name]}`);
        if (points.length) parts.push(path(`M${points.join("L")}`, name));
      }
      parts.push(path(`M${this.t + .5} ${-.03 * cells}V${1.03 * cells}`, "now"));
      line.replaceChildren(...parts);
    }
  }

  /**
   * The L-update that t is, or the last before it, and the H-update that ends its cycle. Of a
   * recording: those that were kept of this segment, or else of the last one before it.
   */
  updates() {
    const { recorded, updates, L_cycles } = this.model;
    if (recorded) {
      const kept = recorded.segments.filter((segment) => segment <= Math.floor(this.t / updates)).at(-1);
      return { L: kept * updates, H: kept * updates + L_cycles };
    }
    const cycle = this.model.L_cycles + 1, end = this.t - (this.t % cycle) + this.model.L_cycles;
    return { L: this.t === end ? end - 1 : this.t, H: end };
  }

  /** The cell whose attention is shown: of a recording, the nearest that was kept. */
  get cell() {
    const chosen = query_cell(), { columns } = task;
    const away = (cell) =>
      (Math.floor(cell / columns) - Math.floor(chosen / columns)) ** 2 + ((cell % columns) - (chosen % columns)) ** 2;
    const kept = this.model.recorded?.cells[view.puzzle] ?? [];
    return kept.length ? kept.reduce((best, cell) => (away(cell) < away(best) ? cell : best)) : chosen;
  }

  ask() {
    const { L, H } = this.updates(), { cell } = this;
    for (const { shades } of Object.values(this.parts)) shades.mark(cell, true);
    this.asked_until = H;
    if (this.waiting || this.steps.length <= H) return;
    this.waiting = { job: this.job, ts: [L, H], cell, at: view.t };
    this.worker.postMessage(this.waiting);
  }

  attended({ rows, query }) {
    const cells = task.rows * task.columns, mean = (lists) =>
      lists[0].map((_, i) => lists.reduce((sum, list) => sum + list[i], 0) / lists.length);
    const shares = rows.map((layers) => {
      if (!layers?.length) return null; // frozen, or a model without attention
      const chosen = view.layer === "mean" || this.model.recorded ? layers : [layers[view.layer - 1]];
      return mean(chosen.map((all) => {
        const heads = Array.from({ length: all.length / cells }, (_, head) =>
          Array.from(all.subarray(head * cells, (head + 1) * cells)));
        return view.head === "mean" ? mean(heads) : heads[view.head - 1];
      }));
    });
    const most = Math.max(...shares.flatMap((share) => share ?? [0])), near = task.near[query.cell];
    ["L", "H"].forEach((level, i) => {
      const { shades, share, title } = this.parts[level];
      const from = query.cell === query_cell() ? "" : `, from ${place(query.cell)}`;
      title.textContent = `${level}-update, sub-step ${query.ts[i] + 1}${from}`;
      shades.shade(shares[i] ?? new Array(cells).fill(0), most);
      const on_near = shares[i] && near.reduce((sum, cell) => sum + shares[i][cell], 0);
      share.textContent = shares[i]
        ? `${percent(on_near)} on its neighbourhood (spread evenly: ${percent(near.length / cells)})`
        : rows[i] ? "no attention: an MLP mixes the positions" : `no update: z_${level} is frozen`;
      shades.label(`${this.model.variant}, attention of ${place(query.cell)} in the ${level}-update: ${share.textContent}`);
    });
  }

  close() {
    this.worker.terminate();
    this.root.remove();
    this.below.remove();
  }
}

// What is chosen -----------------------------------------------------------------------------------

const WORDS = { "#": "wall", " ": "free", S: "start", G: "goal", o: "path" };
/** A token in a word: of a Maze, whose tokens have fills; a large Sudoku has a digit G. */
const word_of = (token) => {
  const symbol = task.vocabulary[token], pictured = task.look.fills[token] || symbol === " ";
  return token === task.undecided ? "nothing" : (pictured && WORDS[symbol]) || symbol;
};
const query_cell = () => hovered ?? view.cell;
let puzzle_board;

function point_at(cell) {
  if (cell === hovered) return;
  hovered = cell;
  marked();
}

function choose(cell) {
  view.cell = cell;
  marked();
  remember();
}

/** After the cell that is asked about has changed. */
function marked() {
  const cell = query_cell();
  puzzle_board.mark(cell);
  puzzle_board.label(`Puzzle, ${place(view.cell)}: ${word_of(question[view.cell])}. ${by("hint").textContent}`);
  by("query").textContent = `From ${place(cell)}. Point at another cell, or choose one with the arrow keys on a board.`;
  for (const pane of panes) {
    for (const { board } of Object.values(pane.parts)) board.mark(cell);
    pane.name();
    pane.ask();
  }
}

/** Make this board the puzzle, if it is one; whether it was. */
function take(board) {
  if (!board) return false;
  view.board = board.map((token) => token.toString(36)).join("");
  run();
  puzzle_board.svg.focus();
  return true;
}

const length = () => Math.max(...panes.map((pane) => pane.length));

/** Where a model is in its rollout, in words. */
function stand({ model: { L_cycles, updates }, length }) {
  if (view.t >= length) return `has ended after ${length}`;
  const update = (view.t % updates) % (L_cycles + 1) === L_cycles ? "H-update" : "L-update";
  return `segment ${Math.floor(view.t / updates) + 1}, ${update}`;
}

function go(t) {
  view.t = Math.min(length() - 1, Math.max(0, t));
  by("t").value = view.t + 1;
  const found = panes.map(stand), alike = found.every((text) => text === found[0]);
  const text = alike ? found[0] : panes.map(({ model }, i) => `${model.variant} ${found[i]}`).join("; ");
  by("where").textContent = `sub-step ${view.t + 1} of ${length()}: ${text}`;
  by("t").setAttribute("aria-valuetext", by("where").textContent);
  for (const pane of panes) pane.show();
  remember();
}

function play(on) {
  clearInterval(playing);
  if (on && view.t >= length() - 1) go(0);
  playing = on ? setInterval(() => {
    if (panes.every(({ steps, length }) => steps[Math.min(view.t + 1, length - 1)])) go(view.t + 1);
    if (view.t >= length() - 1) play(false);
  }, TICK) : null;
  by("play").textContent = on ? "Pause" : "Play";
  by("play").setAttribute("aria-pressed", on);
}

const editable = () => Boolean(rules_of(task).typed) && !recordings().length;

/** Puzzle and models from `view`, all anew. */
function run() {
  const rules = rules_of(task), edit = view.board !== null;
  question = edit ? [...view.board].map((c) => parseInt(c, 36)) : task.inputs[view.puzzle];
  answer = edit ? null : task.labels[view.puzzle];
  let words = "";
  if (edit) {
    const found = rules.answers(task, question);
    answer = found.answer;
    words = found.count === null ? "It takes too long to find out whether this puzzle has one solution."
      : rules.outcomes[found.count];
  }
  by("message").textContent = words;
  by("puzzle").value = edit ? "edited" : view.puzzle;
  by("reset").hidden = !edit;
  by("puzzle-title").textContent = edit ? "Puzzle, edited" : `Test puzzle ${view.puzzle + 1}`;
  puzzle_board = new Board(by("puzzle-board"), "puzzle", { editable: editable() });
  puzzle_board.show(question, { violations: edit ? rules.faults?.(task, question) : [] });
  const wanted = chosen_models();
  while (panes.length > wanted.length) panes.pop().close();
  wanted.forEach((model, number) => (panes[number] ??= new Pane(number)).run(model));
  by("t").max = length();
  marked();
  go(view.t);
}

/** Why some things cannot be done with these models. */
function why_recorded(models) {
  const names = models.map(({ variant, parameters }) => `${variant} has ${parameters.toLocaleString("en")}`);
  const { segments, cells } = models[0].recorded;
  const listed = new Intl.ListFormat("en").format(segments.map((segment) => `${segment + 1}`));
  const attention = cells[0].length
    ? ` Attention is the mean over layers and heads, in the first updates of segments ${listed}.` : "";
  return `${names.join(" and ")} parameters, too many for a page, which shows recorded rollouts instead: ` +
    `the puzzle cannot be edited and no state can be frozen.${attention}`;
}

/** The controls from `view`, which may hold anything: what does not fit becomes the default. */
function settle() {
  task = tasks.find((one) => one.name === view.task) ?? tasks[0];
  view.task = task.name;
  const models = models_of(task.name), ids = models.map((model) => model.id);
  const seeds = new Set(models.map((model) => model.seed)).size;
  const named = models.map((model) => [model.id, model.variant + (seeds > 1 ? `, seed ${model.seed}` : "")]);
  if (!ids.includes(view.a)) [view.a, view.b] = [ids[0], ids[1] ?? ""];
  if (!ids.includes(view.b)) view.b = "";
  hovered = null; // of the boards before, which may have had more cells
  const shown = chosen_models(), cells = task.rows * task.columns;
  const least = (key) => Math.min(...shown.map((model) => model[key]));
  const longest = Math.max(...shown.map((model) => model.segments * model.updates));
  const whole = (value, least, most) => (Number.isInteger(+value) && +value >= least && +value <= most ? +value : least);
  view.puzzle = whole(view.puzzle, 0, task.inputs.length - 1);
  view.from = whole(view.from, 1, least("segments"));
  view.cell = whole(view.cell, 0, cells - 1);
  view.t = whole(view.t, 0, longest - 1);
  if (!["L", "H"].includes(view.freeze)) view.freeze = "";
  const recorded = recordings();
  if (recorded.length) Object.assign(view, { freeze: "", board: null, layer: "mean", head: "mean" });
  const tokens = view.board && [...view.board].map((c) => parseInt(c, 36));
  const fits = tokens && tokens.length === cells && rules_of(task).complete?.(tokens) &&
    tokens.every((token) => token > 0 && token < task.vocabulary.length);
  if (!fits) view.board = null;
  const count = (most) => Array.from({ length: most }, (_, i) => [i + 1, i + 1]);
  for (const key of ["layer", "head"]) if (view[key] !== "mean") view[key] = whole(view[key], 1, least(`${key}s`));
  fill(by("task"), tasks.map(({ name, title }) => [name, title]), view.task);
  fill(by("a"), named, view.a);
  fill(by("b"), [["", "nothing"], ...named], view.b);
  fill(by("puzzle"), [...task.inputs.map((_, i) => [i, `test puzzle ${i + 1}`]), ["edited", "edited"]], view.puzzle);
  by("puzzle").lastChild.disabled = true;
  fill(by("from"), count(least("segments")), view.from);
  fill(by("layer"), [["mean", "mean of all"], ...count(least("layers"))], view.layer);
  fill(by("head"), [["mean", "mean of all"], ...count(least("heads"))], view.head);
  by("freeze").value = view.freeze;
  by("from").disabled = !view.freeze;
  by("margin").checked = view.margin;
  by("hint").textContent = editable() ? rules_of(task).hint : "";
  by("paste-form").hidden = !editable() || !rules_of(task).read;
  for (const key of ["freeze", "layer", "head"]) by(key).disabled = recorded.length > 0;
  by("violation").textContent = task.violation;
  by("recorded").textContent = recorded.length ? why_recorded(recorded) : "";
  run();
}

/** `view` into the address, soon: browsers allow few changes a second. */
function remember() {
  clearTimeout(later);
  later = setTimeout(() => {
    const { board, puzzle, margin, ...rest } = view;
    const of_puzzle = { puzzle: puzzle + 1, ...(board ? { board } : {}) };
    const shown = { ...rest, ...of_puzzle, t: view.t + 1, cell: view.cell + 1, ...(margin ? {} : { margin: "no" }) };
    if (!shown.freeze) delete shown.from;
    const given = Object.entries(shown).filter(([, value]) => value !== "" && value !== "mean");
    history.replaceState(null, "", `#${new URLSearchParams(given)}`.replaceAll("%2F", "/"));
  }, 400);
}

/** `view` from the address. */
function recall() {
  const given = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  for (const key of ["task", "a", "b", "freeze"]) view[key] = given[key] ?? "";
  for (const key of ["layer", "head"]) view[key] = given[key] ?? "mean";
  for (const key of ["puzzle", "t", "cell"]) view[key] = (given[key] ?? 1) - 1;
  view.from = given.from ?? 1;
  view.board = given.board ?? null;
  view.margin = given.margin !== "no";
  settle();
}

// Controls -----------------------------------------------------------------------------------------

for (const key of ["a", "b", "freeze", "from"]) {
  by(key).addEventListener("change", () => {
    view[key] = by(key).value;
    settle();
  });
}
by("task").addEventListener("change", () => {
  Object.assign(view, { task: by("task").value, puzzle: 0, board: null, cell: 0, a: "", layer: "mean", head: "mean" });
  settle();
});
for (const key of ["layer", "head"]) {
  by(key).addEventListener("change", () => {
    view[key] = by(key).value;
    go(view.t);
  });
}
by("margin").addEventListener("change", () => {
  view.margin = by("margin").checked;
  go(view.t);
});
const another = (puzzle) => {
  Object.assign(view, { puzzle, board: null });
  run();
};
by("puzzle").addEventListener("change", () => another(+by("puzzle").value));
by("reset").addEventListener("click", () => another(view.puzzle));
by("paste-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const board = rules_of(task).read(task, by("paste").value);
  if (typeof board === "string") by("message").textContent = board;
  else take(board);
});
by("t").addEventListener("input", () => {
  play(false);
  go(by("t").value - 1);
});
by("play").addEventListener("click", () => play(!playing));
document.addEventListener("keydown", (event) => {
  const within = event.target.closest("input, select, button, a");
  if (within || event.ctrlKey || event.altKey || event.metaKey) return;
  const to = { ArrowLeft: view.t - 1, ArrowRight: view.t + 1, Home: 0, End: length() - 1 }[event.key];
  if (to !== undefined) {
    play(false);
    go(to);
  } else if (event.key === " ") play(!playing);
  else return;
  event.preventDefault();
});
window.addEventListener("hashchange", recall);
recall();

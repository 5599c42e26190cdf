// AIR for one board in the browser: src/air/model, in JavaScript and float64. Same names, same order.
//
//   L-update:  z_L <- f(z_L + z_H + n_L x)        H-update:  z_H <- f(z_H + z_L + n_H x)
//
// A state is a Float64Array [P, d] (row by row): P = lead + cells positions of width d. In float32 the
// rounding of one update grows over a rollout until near-ties are decided by it.

const ROPE_BASE = 10000;
const ROOT_HALF = 0.707106781; // 1 / sqrt(2) with the digits of network.py
const EPSILON = 1e-5; // of the norm

// layers.py and kernels.py ------------------------------------------------------------------------

/** x W^T: [rows, inputs], [outputs, inputs] -> [rows, outputs]. Four rows at a time, for speed. */
export function linear(x, weight, rows, inputs, outputs) {
  const y = new Float64Array(rows * outputs);
  let row = 0;
  for (; row + 4 <= rows; row += 4) {
    const a = row * inputs, b = a + inputs, c = b + inputs, d = c + inputs;
    for (let out = 0; out < outputs; out++) {
      let s = 0, t = 0, u = 0, v = 0;
      const w = out * inputs;
      for (let i = 0; i < inputs; i++) {
        const factor = weight[w + i];
        s += x[a + i] * factor;
        t += x[b + i] * factor;
        u += x[c + i] * factor;
        v += x[d + i] * factor;
      }
      const to = row * outputs + out;
      y[to] = s;
      y[to + outputs] = t;
      y[to + 2 * outputs] = u;
      y[to + 3 * outputs] = v;
    }
  }
  for (; row < rows; row++) {
    for (let out = 0; out < outputs; out++) {
      let s = 0;
      for (let i = 0; i < inputs; i++) s += x[row * inputs + i] * weight[out * inputs + i];
      y[row * outputs + out] = s;
    }
  }
  return y;
}

/** x / sqrt(mean(x^2) + 1e-5) over the last dimension, in place. */
function rms_norm(x, d) {
  for (let at = 0; at < x.length; at += d) {
    let square = 0;
    for (let i = at; i < at + d; i++) square += x[i] * x[i];
    const scale = 1 / Math.sqrt(square / d + EPSILON);
    for (let i = at; i < at + d; i++) x[i] *= scale;
  }
  return x;
}

/** Cosines and sines [positions, size / 2] of rotary embedding (Su et al. 2021), in halves. */
function rope_tables(positions, size) {
  const half = size / 2;
  const cos = new Float64Array(positions * half), sin = new Float64Array(positions * half);
  for (let position = 0; position < positions; position++) {
    for (let i = 0; i < half; i++) {
      const angle = position * ROPE_BASE ** -((2 * i) / size);
      cos[position * half + i] = Math.cos(angle);
      sin[position * half + i] = Math.sin(angle);
    }
  }
  return { cos, sin };
}

/** [rows, width] -> [width, rows]. */
function transposed(x, width) {
  const rows = x.length / width, y = new Float64Array(x.length);
  for (let row = 0; row < rows; row++) {
    for (let i = 0; i < width; i++) y[i * rows + row] = x[row * width + i];
  }
  return y;
}

/** Softmax in place over row[0 .. count). */
function softmax(row, count) {
  let most = -Infinity, sum = 0;
  for (let i = 0; i < count; i++) most = Math.max(most, row[i]);
  for (let i = 0; i < count; i++) sum += row[i] = Math.exp(row[i] - most);
  for (let i = 0; i < count; i++) row[i] /= sum;
  return row;
}

/** Scores of one query against the positions from `lead` on, scaled by 1 / sqrt(head size). */
function scores(q, k, query, head, lead, positions, d, size, row) {
  const from = query * d + head * size, scale = size ** -0.5;
  for (let other = lead; other < positions; other++) {
    let s = 0;
    const to = other * d + head * size;
    for (let i = 0; i < size; i++) s += q[from + i] * k[to + i];
    row[other - lead] = s * scale;
  }
  return row;
}

/** How a board's cell attends to its cells, a softmax over the content alone: [heads, S]. */
export function attention_of(cell, q, k, config, lead, cells) {
  const size = config.hidden_size / config.heads, share = new Float64Array(config.heads * cells);
  for (let head = 0; head < config.heads; head++) {
    const row = share.subarray(head * cells, (head + 1) * cells);
    softmax(scores(q, k, lead + cell, head, lead, lead + cells, config.hidden_size, size, row), cells);
  }
  return share;
}

/** Logits [..., V] as probabilities s / sum s, s(x) = x + 1 for x >= 0 else 1 / (1 - x). */
export function stablemax(logits, vocabulary) {
  const shares = new Float64Array(logits.length);
  for (let at = 0; at < logits.length; at += vocabulary) {
    let sum = 0;
    const s = [];
    for (let v = 0; v < vocabulary; v++) {
      const x = logits[at + v];
      s.push(x < 0 ? 1 / (1 - x) : x + 1);
      sum += s[v];
    }
    for (let v = 0; v < vocabulary; v++) shares[at + v] = s[v] / sum;
  }
  return shares;
}

// network.py --------------------------------------------------------------------------------------

/** One model: what it is (`about`, the file's header) and its tensors by their names in Python. */
export class AIR {
  constructor({ about, tensors }) {
    this.config = about.model;
    this.variant = about.variant;
    this.vocabulary = about.vocabulary;
    this.cells = about.cells;
    this.tensors = tensors;
    const token = this.variant.level_token;
    this.slots = this.config.slots ?? 1; // sizes that are the paper's are not in the file
    this.lead = this.slots + (token === "prepend_no_strip" ? 1 : 0);
    this.attention_lead = this.lead + (token === "prepend" ? 1 : 0);
    this.positions = this.lead + this.cells; // of a state
    const size = this.config.hidden_size / this.config.heads;
    this.rope = rope_tables(this.attention_lead + this.cells, size);
  }

  get updates_per_segment() {
    return this.config.H_cycles * (this.config.L_cycles + 1);
  }

  /** Which update sub-step `t` (from 0) is: its level, H-cycle and L-cycle. */
  update_at(t) {
    const { L_cycles } = this.config, within = t % this.updates_per_segment;
    const L_cycle = within % (L_cycles + 1);
    const level = L_cycle < L_cycles ? "L" : "H";
    const H_cycle = Math.floor(within / (L_cycles + 1));
    return { level, H_cycle, L_cycle: level === "L" ? L_cycle : 0 };
  }

  /** x [P, d] from tokens [S]: embedding, slots in front, positions, times sqrt(d). */
  embed(inputs) {
    const d = this.config.hidden_size, { slots } = this;
    const both = ["learned", "both"].includes(this.config.positions);
    const { embedding, puzzle_embedding, position_embedding } = this.tensors;
    const x = new Float64Array(this.positions * d);
    for (let place = 0; place < slots + this.cells; place++) {
      const at = (this.lead - slots + place) * d; // prepend_no_strip: x is zero at the level token
      const from = place < slots ? 0 : inputs[place - slots] * d;
      for (let i = 0; i < d; i++) {
        let value = place >= slots ? embedding[from + i] : place ? 0 : puzzle_embedding[i];
        if (both) value = (value + position_embedding[place * d + i]) * ROOT_HALF;
        x[at + i] = value * Math.sqrt(d);
      }
    }
    return x;
  }

  /** The states { L, H } at the start of a rollout. */
  fresh_states() {
    const d = this.config.hidden_size, states = {};
    for (const level of ["L", "H"]) {
      const state = (states[level] = new Float64Array(this.positions * d));
      for (let at = 0; at < state.length; at += d) state.set(this.tensors[`${level}_init`], at);
      if (this.lead > this.slots) state.set(this.tensors[`level_tokens.${level}`], 0);
    }
    return states;
  }

  /** The sum that enters f: own + other + n g(x), or own + (own + other) * n x (hadamard). */
  inject(level, own, other, x) {
    const d = this.config.hidden_size, { operator } = this.variant;
    const n = level === "L" ? this.variant.n_L : this.variant.n_H;
    const learned = operator === "linear" || operator === "nonlinear";
    if (n && learned) x = linear(x, this.tensors["operator.weight"], this.positions, d, d);
    const h = new Float64Array(own.length);
    for (let i = 0; i < h.length; i++) {
      if (!n) h[i] = own[i] + other[i];
      else if (operator === "hadamard") h[i] = own[i] + (other[i] + own[i]) * (n * x[i]);
      else h[i] = own[i] + other[i] + n * (operator === "nonlinear" ? Math.tanh(x[i]) : x[i]);
    }
    return h;
  }

  /** One update: the new own state from both states and x. hook(layer, q, k) sees [P', d] each. */
  update(level, own, other, x, hook) {
    const d = this.config.hidden_size, token = this.variant.level_token;
    let h = this.inject(level, own, other, x);
    const mark = this.tensors[`level_tokens.${level}`];
    if (token === "addition") {
      for (let i = 0; i < h.length; i++) h[i] += mark[i % d];
    } else if (token === "prepend") {
      const longer = new Float64Array(h.length + d);
      longer.set(mark, 0);
      longer.set(h, d);
      h = longer;
    }
    const stack = this.variant.two_networks && level === "H" ? 1 : 0;
    for (let layer = 0; layer < this.config.layers; layer++) {
      h = this.block(`stacks.${stack}.blocks.${layer}`, layer, h, hook);
    }
    return token === "prepend" ? h.slice(d) : h;
  }

  /** h = rms(h + attention(h)), or the same by an MLP over positions; h = rms(h + swiglu(h)). */
  block(name, layer, h, hook) {
    const d = this.config.hidden_size, positions = h.length / d;
    if (this.config.mixing === "mlp") {
      const across = transposed(h, d);
      h = transposed(this.added(across, this.swiglu(`${name}.mlp`, across, positions), positions), positions);
    } else {
      h = this.added(h, this.attention(name, layer, h, hook), d);
    }
    return this.added(h, this.swiglu(`${name}.swiglu`, h, d), d);
  }

  /** rms(h + more), in place of `more`. */
  added(h, more, width) {
    for (let i = 0; i < h.length; i++) more[i] += h[i];
    return rms_norm(more, width);
  }

  attention(name, layer, h, hook) {
    const d = this.config.hidden_size, { heads } = this.config, size = d / heads;
    const positions = h.length / d;
    const qkv = linear(h, this.tensors[`${name}.attention.qkv.weight`], positions, d, 3 * d);
    const [q, k, v] = [0, 1, 2].map((part) => {
      const y = new Float64Array(h.length);
      for (let p = 0; p < positions; p++) {
        y.set(qkv.subarray((3 * p + part) * d, (3 * p + part + 1) * d), p * d);
      }
      return y;
    });
    if (["rope", "both"].includes(this.config.positions)) [q, k].forEach((y) => this.rotate(y, positions));
    if (hook) hook(layer, q, k);
    const mixed = new Float64Array(h.length), row = new Float64Array(positions);
    const sums = new Float64Array(size);
    for (let head = 0; head < heads; head++) {
      for (let query = 0; query < positions; query++) {
        softmax(scores(q, k, query, head, 0, positions, d, size, row), positions);
        sums.fill(0);
        for (let other = 0; other < positions; other++) {
          const from = other * d + head * size;
          for (let i = 0; i < size; i++) sums[i] += row[other] * v[from + i];
        }
        mixed.set(sums, query * d + head * size);
      }
    }
    return linear(mixed, this.tensors[`${name}.attention.out.weight`], positions, d, d);
  }

  /** RoPE, in place. */
  rotate(y, positions) {
    const d = this.config.hidden_size, size = d / this.config.heads, half = size / 2;
    for (let p = 0; p < positions; p++) {
      for (let at = p * d; at < (p + 1) * d; at += size) {
        for (let i = 0; i < half; i++) {
          const cos = this.rope.cos[p * half + i], sin = this.rope.sin[p * half + i];
          const a = y[at + i], b = y[at + half + i];
          y[at + i] = a * cos - b * sin;
          y[at + half + i] = b * cos + a * sin;
        }
      }
    }
  }

  /** down(silu(gate(h)) * up(h)), gate and up in one matrix (Shazeer 2020): [rows, width]. */
  swiglu(name, h, width) {
    const rows = h.length / width;
    const down = this.tensors[`${name}.down.weight`], inner = down.length / width;
    const both = linear(h, this.tensors[`${name}.gate_up.weight`], rows, width, 2 * inner);
    const product = new Float64Array(rows * inner);
    for (let p = 0; p < rows; p++) {
      for (let i = 0; i < inner; i++) {
        const gate = both[2 * p * inner + i];
        product[p * inner + i] = (gate / (1 + Math.exp(-gate))) * both[(2 * p + 1) * inner + i];
      }
    }
    return linear(product, down, rows, inner, width);
  }

  /** Logits [S, V] that lm_head reads from the content of a state. */
  decode(z) {
    const d = this.config.hidden_size, content = z.subarray(this.lead * d);
    return linear(content, this.tensors["lm_head.weight"], this.cells, d, this.vocabulary);
  }

  /** What both heads read from z_H: logits [S, V]; the halt and continue logits. */
  heads(z_H) {
    const d = this.config.hidden_size, bias = this.tensors["q_head.bias"];
    const [halt, go] = linear(z_H.subarray(0, d), this.tensors["q_head.weight"], 1, d, 2);
    return { logits: this.decode(z_H), q_halt: halt + bias[0], q_continue: go + bias[1] };
  }
}

// probes/decoding.py ------------------------------------------------------------------------------

/**
 * A rollout that goes on one sub-step at a time and keeps every state. From the start of segment
 * `begin` on, the `frozen` state ("L", "H" or null) keeps its value.
 */
export class Rollout {
  constructor(model, inputs, frozen = null, begin = 0) {
    Object.assign(this, { model, frozen, begin });
    this.x = model.embed(inputs);
    this.states = [model.fresh_states()]; // states[t]: before sub-step t
    this.substeps = model.config.max_segments * model.updates_per_segment;
    this.looked_at = new Map(); // queries and keys by layer of the last two updates asked for
  }

  /** How many sub-steps have been computed. */
  get computed() {
    return this.states.length - 1;
  }

  holds(t) {
    const segment = Math.floor(t / this.model.updates_per_segment);
    return this.model.update_at(t).level === this.frozen && segment >= this.begin;
  }

  /** Compute the next sub-step; false at the end. */
  step() {
    const t = this.computed;
    if (t === this.substeps) return false;
    const states = { ...this.states[t] }, { level } = this.model.update_at(t);
    if (!this.holds(t)) {
      states[level] = this.model.update(level, states[level], states[level === "L" ? "H" : "L"], this.x);
    }
    this.states.push(states);
    return true;
  }

  /** The board that a state shows after sub-step t, and how far each cell's best token leads. */
  shown(level, t) {
    const { vocabulary, cells } = this.model;
    const logits = this.model.decode(this.states[t + 1][level]);
    const shares = stablemax(logits, vocabulary);
    const board = new Uint8Array(cells), margin = new Float32Array(cells);
    for (let cell = 0; cell < cells; cell++) {
      const at = cell * vocabulary;
      let best = 0;
      for (let v = 1; v < vocabulary; v++) if (logits[at + v] > logits[at + best]) best = v;
      let second = 0;
      for (let v = 0; v < vocabulary; v++) {
        if (v !== best) second = Math.max(second, shares[at + v]);
      }
      board[cell] = best;
      margin[cell] = shares[at + best] - second;
    }
    return { board, margin };
  }

  /**
   * How `cell` attends in the update of sub-step t, [heads, S] by layer; null if it was frozen. A model
   * without attention has no layer here.
   */
  attention(t, cell) {
    if (this.holds(t)) return null;
    const { model, looked_at } = this;
    if (!looked_at.has(t)) {
      const layers = [], { level } = model.update_at(t), before = this.states[t];
      const other = before[level === "L" ? "H" : "L"];
      model.update(level, before[level], other, this.x, (layer, q, k) => (layers[layer] = { q, k }));
      if (looked_at.size > 1) looked_at.delete(looked_at.keys().next().value);
      looked_at.set(t, layers);
    }
    return looked_at
      .get(t)
      .map(({ q, k }) => attention_of(cell, q, k, model.config, model.attention_lead, model.cells));
  }
}

// checkpoint.py -----------------------------------------------------------------------------------

/** What a safetensors file (an ArrayBuffer) holds: `about`, our header, and `tensors` as float32. */
export function read_tensors(file) {
  const length = Number(new DataView(file).getBigUint64(0, true));
  const entries = JSON.parse(new TextDecoder().decode(new Uint8Array(file, 8, length)));
  const tensors = {};
  for (const [name, { dtype, data_offsets }] of Object.entries(entries)) {
    if (name === "__metadata__") continue;
    const [begin, end] = data_offsets;
    const bytes = file.slice(8 + length + begin, 8 + length + end);
    if (dtype === "F32") tensors[name] = new Float32Array(bytes);
    else tensors[name] = widen(new Uint16Array(bytes), dtype === "BF16");
  }
  return { about: JSON.parse(entries.__metadata__.air), tensors };
}

/** bfloat16 or float16 (as their bits) as float32. */
function widen(bits, brain) {
  const values = new Float32Array(bits.length);
  if (brain) {
    const wide = new Uint32Array(values.buffer);
    for (let i = 0; i < bits.length; i++) wide[i] = bits[i] << 16;
    return values;
  }
  for (let i = 0; i < bits.length; i++) {
    const exponent = (bits[i] >> 10) & 31, fraction = bits[i] & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : (fraction / 1024) * 2 ** -14;
    values[i] = bits[i] & 32768 ? -size : size;
  }
  return values;
}

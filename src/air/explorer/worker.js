// What runs beside the page, after model.js and recording.js: one model, one rollout at a time.
// In: { job, file?, inputs, frozen, begin } starts a rollout; with { about, puzzle } too, it plays the
// recording of that puzzle, and the file is the recording. { job, ts, cell } asks for attention.
// Out: { job, t, L, H } per sub-step; { job, query, rows } of attention.

let model = null, recording = null, rollout = null, current = 0;

self.onmessage = ({ data }) => {
  if (data.inputs) {
    if (data.file && data.about) recording = new Uint8Array(data.file);
    else if (data.file) model = new AIR(read_tensors(data.file));
    rollout = data.about
      ? new Recorded(data.about, recording, data.puzzle, data.inputs.length)
      : new Rollout(model, data.inputs, data.frozen, data.begin);
    current = data.job;
    advance(data.job);
  } else if (data.job === current && data.ts.every((t) => t < rollout.computed)) {
    const rows = data.ts.map((t) => rollout.attention(t, data.cell));
    self.postMessage({ job: current, query: data, rows });
  } else {
    self.postMessage({ job: data.job, query: data, rows: null }); // not computed yet
  }
};

/** Sub-steps for a moment; then whatever has been asked meanwhile comes first. */
function advance(job) {
  if (job !== current) return;
  const until = performance.now() + 20;
  do {
    if (!rollout.step()) return;
    const t = rollout.computed - 1;
    self.postMessage({ job, t, L: rollout.shown("L", t), H: rollout.shown("H", t) });
  } while (performance.now() < until);
  setTimeout(advance, 0, job);
}

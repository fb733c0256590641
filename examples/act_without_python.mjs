// Runs a deployed policy without Python, on one thread, and tells what it takes.
//
//   npm install onnxruntime-node@1.30.0
//   rlkit edge export boxing --output boxing.onnx
//   node act_without_python.mjs boxing.onnx [OBSERVATIONS.bin]
//
// OBSERVATIONS.bin holds observations one after the other, as the environment gives them and as
// NumPy's `tofile` writes them; without it 1,000 random ones are taken. Like a small device, with one
// core and 128 MB for data:
//
//   taskset -c 0 prlimit --data=128000000 node --max-old-space-size=16 act_without_python.mjs ...

import { readFileSync } from "node:fs";

process.env.ORT_DISABLE_TELEMETRY ??= "1"; // before it starts, or it reports to its makers
const { InferenceSession, Tensor } = await import("onnxruntime-node");

const [file, recording] = process.argv.slice(2);
if (file === undefined) {
  console.error("usage: node act_without_python.mjs POLICY.onnx [OBSERVATIONS.bin]");
  process.exit(2);
}

const started = performance.now();
const session = await InferenceSession.create(file, {
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: 3,
});
const [observations, ...states] = session.inputMetadata;
const shape = observations.shape.slice(1);
const numbers = shape.reduce((product, side) => product * side, 1);
const ArrayOf = observations.type === "uint8" ? Uint8Array : Float32Array;
const count = (array) => Math.floor(array.length / numbers);

function recorded() {
  if (recording === undefined) {
    return ArrayOf.from({ length: 1000 * numbers }, () => 255 * Math.random());
  }
  const bytes = readFileSync(recording);
  return new ArrayOf(bytes.buffer, bytes.byteOffset, bytes.length / ArrayOf.BYTES_PER_ELEMENT);
}

// A policy with memory takes its state and gives the next one; before an episode all is zero.
let state = Object.fromEntries(
  states.map(({ name, shape: [, size] }) => [
    name,
    new Tensor("float32", new Float32Array(size), [1, size]),
  ]),
);

async function act(observation) {
  const input = new Tensor(observations.type, observation, [1, ...shape]);
  const outputs = await session.run({ observations: input, ...state });
  state = Object.fromEntries(states.map(({ name }) => [name, outputs[`next_${name}`]]));
  const scores = outputs.scores.data;
  return scores.indexOf(Math.max(...scores)); // continuous actions are the scores themselves
}

const all = recorded();
const actions = [];
const microseconds = [];
let first;
for (let i = 0; i < count(all); i += 1) {
  const before = performance.now();
  actions.push(await act(all.subarray(i * numbers, (i + 1) * numbers)));
  const now = performance.now();
  microseconds.push(1000 * (now - before));
  first ??= now - started;
}
microseconds.sort((a, b) => a - b);
const at = (share) => microseconds[Math.floor(share * (microseconds.length - 1))].toFixed(1);
console.log(`first actions: ${actions.slice(0, 20).join(" ")}`);
console.log(`loaded and acted after ${first.toFixed(0)} ms`);
console.log(`an action takes ${at(0.5)} µs in the median, ${at(0.99)} µs in 99 of 100`);
console.log(`resident memory: ${(process.memoryUsage().rss / 1e6).toFixed(0)} MB`);

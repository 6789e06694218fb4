// What bundle.json must be: types, ranges, and how its numbers fit together. The rules of ds_keras.runtime.manifest.
"use strict";

const FORMAT = "ds_keras.bundle", VERSIONS = [2, 3, 4], TASK_VERSION = 4, INDEX = "bundle.json";
const BYTES = { float32: 4, float16: 2, int8: 1 }; // of a kernel's value
const MAX_SIDE = 2 ** 16, MAX_COUNT = 2 ** 31, MAX_LEVELS = 1000, ALIGNMENT = 64;
const MAX_CLASSES = 10000, MAX_SCORES = 2 ** 24; // of a detector: classes; boxes x classes
const CONFIDENCES = ["entropy", "band", "mean", "least", "margin"]; // of a detector in its boxes
const MAX_COPIES = 16; // of one kernel in a file of version 4

/** Refuses what a bundle must not have. */
function need(condition, what, received) {
  if (condition) return;
  const text = JSON.stringify(received) ?? String(received);
  throw new Error(`it must have ${what}, received ${text.length < 200 ? text : `${text.slice(0, 200)}...`}`);
}

function whole(value, low, high) {
  need(Number.isInteger(value) && low <= value && value <= high, `whole numbers in [${low}, ${high}]`, value);
  return value;
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function numbers(values, count) {
  const plain = Array.isArray(values) && values.every(Number.isFinite) && values.length === count;
  need(plain, `lists of ${count} finite numbers`, values);
  return values;
}

function shapeOf(value, high) {
  need(Array.isArray(value) && value.length > 0 && value.length <= 4, "shapes of up to four axes", value);
  value.forEach((side) => whole(side, 1, high));
  return value;
}

function hashOf(value) {
  need(typeof value === "string" && /^[0-9a-f]{64}$/.test(value), "sha256 hashes", value);
}

function fileNames(levels) {
  const every = [...Array(levels).keys()];
  return ["route", ...every.map((k) => `entry_${k}`), ...every.map((k) => `body_${k}`)];
}

/** Whether a bundle is a detector's: its levels give boxes and scores. */
const givesBoxes = (manifest) => manifest.format_version === TASK_VERSION;

/** By what the cascade of a detector goes on; null where it has none. */
function confidenceOf(manifest) {
  return (givesBoxes(manifest) && manifest.policy.confidence) || null;
}

/** What every level gives for one image: shapes by name. */
function outputShapes(manifest) {
  return givesBoxes(manifest) ? manifest.outputs : { logits: [manifest.num_classes] };
}

/** Checks the task and the outputs; the number of classes. */
function checkTask(manifest) {
  if (!givesBoxes(manifest)) return whole(manifest.num_classes, 2, MAX_SIDE);
  need(manifest.task === "detection", "task detection", manifest.task);
  const classes = whole(manifest.num_classes, 1, MAX_CLASSES), { outputs } = manifest;
  need(isObject(outputs) && Object.keys(outputs).sort().join() === "boxes,scores", "outputs: boxes and scores", outputs);
  const [count] = shapeOf(outputs.boxes, MAX_SCORES), wanted = JSON.stringify([[count, 4], [count, classes]]);
  need(JSON.stringify([outputs.boxes, outputs.scores]) === wanted, "a box and its scores in each row", outputs);
  need(count * classes <= MAX_SCORES, `at most ${MAX_SCORES} scores`, outputs);
  return classes;
}

/** Checks the content of bundle.json; returns it. */
function checkManifest(manifest) {
  need(isObject(manifest) && manifest.format === FORMAT, `format ${FORMAT}`, manifest?.format);
  need(VERSIONS.includes(manifest.format_version), `format_version of ${VERSIONS}`, manifest.format_version);
  need(typeof manifest.name === "string", "a name", manifest.name);
  need(shapeOf(manifest.image_shape, MAX_SIDE).length === 3, "image_shape of three numbers", manifest.image_shape);
  const classes = checkTask(manifest), { labels, licence, parts } = manifest;
  need(licence === null || typeof licence === "string", "licence: null or a text", licence);
  const named = Array.isArray(labels) && labels.length === classes && labels.every((label) => typeof label === "string");
  need(labels === null || named, "labels: null, or a name for each class", labels);
  need(isObject(parts), "parts: an object", parts);
  for (const [name, part] of Object.entries(parts)) {
    need(/^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/.test(name) && name !== INDEX, "names of parts without folders", name);
    whole(part.bytes, 1, MAX_COUNT);
    hashOf(part.sha256);
  }
  checkKernels(manifest.kernels, parts);
  const { start, gate, body } = manifest.madds;
  need(Array.isArray(body) && body.length >= 1 && body.length <= MAX_LEVELS, `madds of 1 to ${MAX_LEVELS} bodies`, body);
  [start, gate, ...body].forEach((value) => whole(value, 0, 2 ** 53));
  need(body.at(-1) > 0, "madds of the largest level above 0", body);
  const names = fileNames(body.length), files = manifest.files;
  const all = isObject(files) && Object.keys(files).length === names.length && names.every((name) => Object.hasOwn(files, name));
  need(all, "the files of every level", files && Object.keys(files));
  for (const file of Object.values(files)) {
    need(Object.hasOwn(parts, file.part), "files whose part is listed", file.part);
    whole(file.size, 1, MAX_COUNT);
    hashOf(file.sha256);
  }
  checkPolicy(manifest.policy, body.length);
  if (givesBoxes(manifest)) checkConfidence(manifest.policy);
  checkPreprocessing(manifest.preprocessing);
  return manifest;
}

function checkKernels(kernels, parts) {
  need(Object.hasOwn(parts, kernels.part), "kernels whose part is listed", kernels.part);
  need(typeof kernels.dtype === "string" && Object.hasOwn(BYTES, kernels.dtype), `dtype of ${Object.keys(BYTES)}`, kernels.dtype);
  need(isObject(kernels.index), "an index of the kernels", kernels.index);
  let end = 0;
  for (const [key, row] of Object.entries(kernels.index)) {
    need(Array.isArray(row) && row.length === 2, "an offset and a shape for each kernel", [key, row]);
    need(whole(row[0], end, MAX_COUNT) % ALIGNMENT === 0, `kernels that begin at multiples of ${ALIGNMENT}`, [key, row]);
    need([2, 4].includes(shapeOf(row[1], MAX_COUNT).length), "kernels of two or four axes", [key, row]);
    end = row[0] + count(row[1]) * BYTES[kernels.dtype];
    need(end <= parts[kernels.part].bytes, "kernels that lie within their part", [key, row]);
  }
}

function count(shape) {
  return shape.reduce((product, side) => product * side, 1);
}

function checkPolicy(policy, levels) {
  const known = ["gate", "cascade", "random"].includes(policy.default);
  if (!known) whole(policy.default, 0, levels - 1);
  const chain = policy.cascade;
  need(Array.isArray(chain) && chain.length >= 2, "a cascade of two or more levels", chain);
  chain.forEach((level, i) => whole(level, i ? chain[i - 1] + 1 : 0, levels - 1));
  need(isObject(policy.knobs) && Object.keys(policy.knobs).sort().join() === "cascade,gate", "knobs by policy", policy.knobs);
  const settings = { levels: 1, gate: 1, cascade: chain.length - 1 };
  numbers(policy.knobs.gate, settings.gate);
  numbers(policy.knobs.cascade, settings.cascade);
  need(isObject(policy.budget_table), "a budget table", policy.budget_table);
  for (const [name, rows] of Object.entries(policy.budget_table)) {
    need(Object.hasOwn(settings, name) && Array.isArray(rows), "rows for gate, cascade and levels", name);
    rows.forEach((row, i) => checkRow(row, settings[name], levels, i ? rows[i - 1][1] : -Infinity));
  }
}

/** Of a detector's cascade that was fitted: by what it goes on, and what it costs. */
function checkConfidence({ confidence, budget_table: table }) {
  if (confidence === undefined || confidence === null) return;
  need(CONFIDENCES.includes(confidence), `confidence of ${CONFIDENCES}, or none`, confidence);
  need(Object.hasOwn(table, "cascade") && table.cascade.length > 0, "rows of the cascade beside its confidence", table);
}

/** A row [settings, MAdds, accuracy] or [settings, MAdds, accuracy, passes of each level]. */
function checkRow(row, settings, levels, least) {
  need(Array.isArray(row) && [3, 4].includes(row.length), "rows of a budget table", row);
  numbers(row[0], settings);
  numbers(row.slice(1, 3), 2);
  need(row[1] >= least, "rows by rising cost", row);
  if (row.length === 4) need(numbers(row[3], levels).every((share) => share >= 0 && share <= 1), "passes in [0, 1]", row);
}

function checkPreprocessing(value) {
  if (value === undefined || value === null) return;
  const fraction = value.crop_fraction ?? 1, method = value.interpolation ?? "bilinear";
  const known = Object.keys(value).every((key) => ["crop_fraction", "interpolation"].includes(key));
  need(isObject(value) && known && Number.isFinite(fraction) && fraction > 0 && fraction <= 1, "a crop_fraction in (0, 1]", value);
  need(["bilinear", "bicubic"].includes(method), "interpolation: bilinear or bicubic", method);
}

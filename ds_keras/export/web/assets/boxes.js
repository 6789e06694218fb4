// What a detector found: of boxes of one thing the surest, and boxes drawn on a picture. The rule of ds_keras.detection.
"use strict";

const CANDIDATES = 500, OF_ALL = 50000; // of the best scores of a class, and of all classes together
const SHOWN = 0.3, LEAST = 0.01; // scores: from which on boxes are shown, and from which on they count
const COLOURS = ["#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#9a6324", "#808000"];

/** Of overlapping boxes of a class the surest: [{box: [left, top, right, bottom], score, kind}], the surest first. */
function chooseBoxes(boxes, scores, threshold = SHOWN, iou = 0.5, most = 100) {
  const count = boxes.length / 4, classes = scores.length / count, found = [];
  const each = Math.max(1, Math.min(CANDIDATES, Math.floor(OF_ALL / classes)));
  const least = Math.fround(threshold), limit = Math.fround(iou);
  const sides = Array.from({ length: count }, (_, i) => boxes.subarray(4 * i, 4 * i + 4));
  const usable = sides.map((box) => box.every(Number.isFinite));
  for (let kind = 0; kind < classes; kind++) {
    const score = (i) => scores[i * classes + kind], places = [], kept = [];
    for (let i = 0; i < count; i++) if (usable[i] && score(i) >= least) places.push(i);
    places.sort((a, b) => score(b) - score(a) || a - b);
    for (const i of places.slice(0, each)) {
      if (kept.length < most && kept.every((k) => !(overlap(sides[k], sides[i]) > limit))) kept.push(i);
    }
    found.push(...kept.map((i) => ({ box: Array.from(sides[i], (side) => Math.min(Math.max(side, 0), 1)), score: score(i), kind })));
  }
  return found.sort((a, b) => b.score - a.score).slice(0, most);
}

/** Intersection over union, each step in float32. */
function overlap(a, b) {
  const f = Math.fround, positive = (value) => Math.max(f(value), 0);
  const area = (box) => f(positive(box[2] - box[0]) * positive(box[3] - box[1]));
  const across = positive(Math.min(a[2], b[2]) - Math.max(a[0], b[0]));
  const common = f(across * positive(Math.min(a[3], b[3]) - Math.max(a[1], b[1])));
  return f(common / Math.max(f(f(area(a) + area(b)) - common), f(1e-12)));
}

/** How sure a level is of the boxes on one picture, in [0, 1]: the rule of ds_keras.detection.routing. */
function boxConfidence(found, name) {
  const f = Math.fround, scores = found.map(({ score }) => score).filter((score) => score >= f(LEAST));
  const shown = scores.filter((score) => score >= f(SHOWN)), sum = (values) => values.reduce((a, b) => a + b, 0);
  const entropy = (score) => {
    const p = Math.min(Math.max(score, 1e-6), 1 - 1e-6);
    return -(p * Math.log(p) + (1 - p) * Math.log(1 - p));
  };
  const rules = {
    entropy: () => 1 / (1 + sum(scores.map(entropy))),
    band: () => 1 / (1 + scores.filter((score) => score > f(0.1) && score < 0.5).length),
    mean: () => (shown.length ? sum(shown) / shown.length : 1),
    least: () => Math.min(1, ...shown),
    margin: () => 2 * Math.min(0.5, ...scores.map((score) => Math.abs(f(score - f(SHOWN))))),
  };
  return f(Math.min(Math.max(rules[name](), 0), 1));
}

/** Draws boxes with their names on a canvas that shows the picture. */
function drawBoxes(canvas, found, nameOf) {
  const pen = canvas.getContext("2d"), { width, height } = canvas, line = Math.max(1, Math.min(width, height) / 150);
  pen.font = `${Math.max(10, 7 * line)}px sans-serif`;
  [pen.lineWidth, pen.textBaseline] = [line, "top"];
  for (const { box: [left, top, right, bottom], score, kind } of found.slice().reverse()) {
    const text = `${nameOf(kind)} ${Math.round(100 * score)}`, [x, y] = [left * width, top * height];
    pen.strokeStyle = pen.fillStyle = COLOURS[kind % COLOURS.length];
    pen.strokeRect(x, y, (right - left) * width, (bottom - top) * height);
    pen.fillRect(x, y, pen.measureText(text).width + 2 * line, Math.max(10, 7 * line) + line);
    pen.fillStyle = "#fff";
    pen.fillText(text, x + line, y + line);
  }
}

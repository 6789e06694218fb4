// What the page shows. Text is set as text, never as markup.
"use strict";

const byId = (id) => document.getElementById(id);
const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
const cssShare = (share) => `${(100 * share).toFixed(2)}%`;
const milliseconds = (ms, digits = 3) => ms.toFixed(ms >= 100 ? 0 : ms >= 10 ? 1 : Math.min(digits, ms >= 1 ? 2 : 3));

function element(tag, text = "", attributes = {}) {
  const made = document.createElement(tag);
  if (text) made.textContent = text;
  return Object.assign(made, attributes);
}

function colourOf(level, levels) {
  return `hsl(${200 + (130 * level) / Math.max(levels - 1, 1)} 62% 45%)`;
}

/** Shows progress of loading; null ends it. */
function showLoading(share, text) {
  byId("loading").hidden = share === null;
  byId("loading-bar").value = share ?? 1;
  byId("loading-text").textContent = text ?? "";
}

function showError(error) {
  byId("error").hidden = !error;
  byId("error").textContent = error ? `${error.message ?? error}` : "";
}

function showAbout(rows) {
  byId("about").replaceChildren(...rows.flatMap(([name, text]) => [element("dt", name), element("dd", text)]));
}

/** The network's name, which may break after its underscores. */
function showName(name) {
  byId("name").replaceChildren(...name.split(/(?<=_)/).flatMap((word) => [word, element("wbr")]));
}

/** The levels as bars, as long as their share of the largest one's work. */
function showLadder(costs) {
  byId("ladder").replaceChildren(...costs.map((cost, level) => {
    const row = element("div"), bar = element("b"), largest = costs.at(-1);
    bar.style.setProperty("--colour", colourOf(level, costs.length));
    bar.style.width = cssShare(cost / largest);
    row.append(element("span", `Level ${level}`), bar, element("span", percent(cost / largest)));
    return row;
  }));
}

function showAnswer(classes, { level, work, ms, ran, levels, story }) {
  byId("label").textContent = classes[0]?.name ?? "Nothing found";
  byId("classes").replaceChildren(...classes.map(({ name, probability }) => {
    const row = element("li"), bar = element("i");
    bar.style.width = cssShare(probability);
    row.append(bar, element("span", name), element("span", percent(probability, 1)));
    return row;
  }));
  byId("level").textContent = `${level} of ${levels - 1}`;
  byId("time").textContent = `${milliseconds(ms, 2)} ms`;
  byId("work").textContent = percent(work);
  byId("story").textContent = story;
  [...byId("ladder").children].forEach((row, k) => (row.className = k === level ? "answered" : ran.includes(k) ? "ran" : ""));
}

/** A bar of shares, one piece for each level. */
function showMix(id, shares) {
  const bar = byId(id);
  if (bar.children.length !== shares.length) bar.replaceChildren(...shares.map(() => element("span")));
  shares.forEach((share, level) => {
    const piece = bar.children[level];
    piece.style.setProperty("--colour", colourOf(level, shares.length));
    piece.style.flexGrow = share;
    piece.textContent = share * bar.clientWidth > 60 ? `${level}: ${percent(share)}` : "";
    piece.title = `Level ${level}: ${percent(share, 1)}`;
  });
}

function showTimes(rows, note) {
  byId("times").hidden = byId("times-note").hidden = false;
  byId("times").tBodies[0].replaceChildren(...rows.map(({ name, work, ms, routed }) => {
    const row = element("tr", "", { className: routed ? "routed" : "" });
    row.append(element("th", name, { scope: "row" }), element("td", percent(work)), element("td", milliseconds(ms)));
    return row;
  }));
  byId("times-note").textContent = note;
}

/** Draws what the network reads. */
function showSeen(image, [height, width, channels]) {
  const canvas = byId("seen"), data = new ImageData(width, height);
  for (let i = 0; i < width * height; i++) {
    for (let c = 0; c < 3; c++) data.data[4 * i + c] = image[i * channels + (channels === 1 ? 0 : c)];
    data.data[4 * i + 3] = 255;
  }
  [canvas.width, canvas.height, canvas.hidden] = [width, height, false];
  canvas.getContext("2d").putImageData(data, 0, 0);
}

/** Draws a picture into the frame. */
function showPicture(pixels) {
  const canvas = byId("picture");
  [canvas.width, canvas.height] = [pixels.width, pixels.height];
  canvas.classList.toggle("pixels", pixels.width < 100);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  [canvas.hidden, byId("video").hidden, byId("empty").hidden] = [false, true, true];
}

// The page's behaviour: buttons, slider, camera loop.
"use strict";

const SETTINGS = JSON.parse(byId("settings").textContent);
const nextFrame = () => new Promise((resolve) => setTimeout(resolve)); // lets the page draw
let classifier = null, camera = null, lastPixels = null;

/** Data inside the page, or beside it. */
async function readData(name) {
  const block = byId(`data-${name}`);
  if (!block) {
    const answer = await fetch(name);
    if (!answer.ok) throw new Error(`${name} cannot be read: ${answer.status}`);
    return new Uint8Array(await answer.arrayBuffer());
  }
  const data = bytesOf(block.textContent);
  block.remove(); // it is needed once
  return data;
}

/** Base64 to bytes. */
function bytesOf(base64) {
  const text = atob(base64), data = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) data[i] = text.charCodeAt(i);
  return data;
}

async function start() {
  try {
    classifier = await Classifier.open(SETTINGS, readData, async (share, text) => {
      showLoading(share, text);
      await nextFrame();
    });
  } catch (error) {
    showLoading(null);
    showError(error);
    throw error;
  }
  showLoading(null);
  document.querySelector("main").hidden = false;
  showName(classifier.manifest.name);
  if (classifier.boxes) byId("intro").firstChild.textContent = "One network in several sizes: choose how much of it looks at a picture. ";
  byId("knows").textContent = knows(classifier.manifest.labels ?? []);
  showLadder(classifier.costs);
  about();
  wire();
  policies();
  await offerPictures();
  return classifier;
}

const MAX_NAMED = 20; // classes

/** What the network can tell apart, where that is short enough to read. */
function knows(labels) {
  if (!labels.length || labels.length > MAX_NAMED) return "";
  return `This one knows ${labels.join(", ")}: shown anything else, it can only be wrong.`;
}

function about() {
  const { manifest, build, bundle } = classifier, { package: name, version } = SETTINGS.runtime;
  const [height, width, channels] = manifest.image_shape, known = SETTINGS.about;
  const rows = [
    ["Network", `${manifest.name}: ${classifier.levels} levels, ${manifest.num_classes} classes, pictures of ${width} x ${height} px, ${channels === 1 ? "grey" : "colour"}`],
    ["Licence of the weights", manifest.licence ?? known.licence ?? "not stated"],
    ["Data", known.data],
    ["Trained on", known.trained_on],
    ["Bundle", `${manifest.quantization ?? "float32"}, ${bundle.id.slice(0, 16)}`],
    ["Runs with", `LiteRT.js: ${name} ${version}, Apache-2.0 (apache.org/licenses/LICENSE-2.0), adapted to run inside this page; ${build} build, one thread`],
    ["Was run in", "Chromium on a computer with Linux. Not yet in Safari or Firefox, nor on a phone"],
    ["Your pictures", "stay on this device. The page asks no other host for anything, and its security policy forbids it."],
  ];
  showAbout(rows.filter(([, text]) => text));
}

function policies() {
  const names = classifier.boxes && !classifier.router.doubt ? {} : { cascade: "Small first, larger if unsure" };
  if (!classifier.boxes) names.gate = "A gate looks first and picks";
  const options = Object.entries(names).map(([value, text]) => element("option", text, { value }));
  options.push(...classifier.costs.map((_, k) => element("option", `Always level ${k}`, { value: String(k) })));
  byId("policy").replaceChildren(...options);
  byId("policy").value = String(classifier.policy);
  choose(classifier.policy);
}

/** Sets a policy, and the budget that costs what its exported settings cost, as far as its table knows. */
function choose(policy) {
  classifier.setPolicy(policy);
  const range = typeof policy === "number" ? null : budgetRange(classifier.manifest, policy);
  byId("budget-row").hidden = !range;
  if (range) {
    [byId("budget-low").textContent, byId("budget-high").textContent] = [percent(range.low), percent(range.high)];
    byId("budget").value = 1000 * positionOf(classifier.settings, policy, range);
    return spend();
  }
  showExpected();
  return answerAgain();
}

/** Where on the slider the settings lie: the row of the table that is nearest to them. */
function positionOf(settings, policy, { low, high }) {
  const far = (row) => row[0].reduce((sum, value, i) => sum + Math.abs(value - settings[i]), 0);
  const row = budgetRows(classifier.manifest, policy).reduce((best, one) => (far(one) < far(best) ? one : best));
  return high > low ? Math.min(1, (row[1] / classifier.largest - low) / (high - low)) : 1;
}

function spend() {
  const { low, high } = budgetRange(classifier.manifest, classifier.policy);
  classifier.setBudget(low + (high - low) * (byId("budget").value / 1000));
  byId("budget-value").textContent = `${percent(classifier.fraction)} of the largest level`;
  showExpected();
  return answerAgain();
}

let answering = null, outdated = false;

/** The chosen picture under new settings; a slider that moves on while it runs asks once more, not once for each step. */
async function answerAgain() {
  if (!lastPixels || camera.runs) return;
  outdated = true;
  while (outdated && !answering) {
    outdated = false;
    answering = answer(lastPixels);
    await answering.finally(() => (answering = null));
  }
}

function showExpected() {
  const expected = classifier.expected(), timed = classifier.timed;
  const score = expected?.accuracy ?? null;
  const scored = classifier.boxes ? `mAP@0.5 of ${score?.toFixed(3)} on held-out pictures.` : `${percent(score, 1)} of held-out pictures right.`;
  const right = score === null ? "" : scored;
  const here = timed?.times.bodies && expected?.passes ? ` About ${milliseconds(composed(timed.times, classifier.policy, expected.passes))} ms a picture here.` : "";
  byId("expected").textContent = right + here;
  if (expected?.ends) showMix("mix-expected", expected.ends);
  showSeenMix();
}

function showSeenMix() {
  const total = classifier.seen.reduce((a, b) => a + b, 0);
  byId("mix-count").textContent = total ? `Seen, ${total}` : "Seen";
  showMix("mix-seen", classifier.seen.map((count) => count / Math.max(total, 1)));
}

/** Classifies pixels and shows the answer. */
async function answer(pixels) {
  const image = classifier.input(pixels, byId("invert").checked);
  const found = await classifier.classify(image), order = classifier.router.order;
  if (classifier.boxes) {
    showPicture(pixels); // of the camera too: the boxes belong to this frame
    drawBoxes(byId("picture"), found.things, (kind) => classifier.nameOf(kind));
    found.classes = found.things.map(({ kind, score }) => ({ name: classifier.nameOf(kind), probability: score }));
  }
  const ran = found.policy === "cascade" ? order.slice(0, order.indexOf(found.level) + 1) : [found.level];
  if (!classifier.boxes) showSeen(image, classifier.manifest.image_shape);
  showAnswer(found.classes, { ...found, ran, levels: classifier.levels, work: found.madds / classifier.largest, story: story(found, ran) });
  showSeenMix();
}

function story({ policy, level }, ran) {
  if (policy === "gate") return `The gate sent this picture to level ${level}.`;
  if (policy !== "cascade") return `Every picture runs at level ${level}.`;
  if (ran.length === 1) return `Level ${level} was sure at once.`;
  const unsure = ran.slice(0, -1), several = unsure.length > 1;
  return `Level${several ? "s" : ""} ${unsure.join(" and ")} ${several ? "were" : "was"} not sure, so level ${level} ran too and answered.`;
}

async function watch() {
  while (camera.runs) {
    const pixels = camera.frame();
    if (pixels) await answer((lastPixels = pixels));
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
}

async function toggleCamera() {
  showError(null);
  if (camera.runs) {
    camera.stop();
    if (lastPixels) showPicture(lastPixels); // the last frame stays
  } else {
    await camera.start();
    [byId("video").hidden, byId("picture").hidden, byId("empty").hidden] = [false, true, true];
    watch().catch(showError);
  }
  byId("camera").textContent = camera.runs ? "Stop camera" : "Start camera";
}

async function openFile(blob) {
  showError(null);
  if (camera.runs) await toggleCamera();
  lastPixels = await readPicture(blob);
  showPicture(lastPixels);
  await answer(lastPixels);
}

/** Pictures that came with the page: the first is classified at once, the others are a touch away. */
async function offerPictures() {
  const pictures = SETTINGS.pictures.map((data) => new Blob([bytesOf(data)]));
  byId("samples").hidden = !pictures.length;
  byId("samples").replaceChildren(...pictures.map((blob, i) => {
    const button = element("button", "", { onclick: told(() => openFile(blob)), ariaLabel: `Picture ${i + 1}` });
    const image = element("img", "", { src: URL.createObjectURL(blob), alt: "" });
    image.onload = () => image.classList.toggle("pixels", image.naturalWidth < 100);
    button.append(image);
    return button;
  }));
  if (pictures.length) await openFile(pictures[0]).catch(showError);
}

async function measure() {
  const button = byId("measure"), bar = byId("measure-bar");
  [button.disabled, bar.hidden] = [true, false];
  try {
    const { times, routed, policy } = await classifier.measure(async (share) => {
      bar.value = share;
      await nextFrame();
    });
    const rows = times.levels.map((ms, k) => ({ name: `Level ${k}`, work: classifier.costs[k] / classifier.largest, ms }));
    if (routed) rows.push({ name: `Routed, on ${routed.images} pictures you showed`, work: routed.madds / classifier.largest, ms: routed.ms, routed: true });
    const expected = classifier.expected();
    if (expected?.passes && times.bodies) rows.push({ name: "Routed, as expected on held-out pictures", work: classifier.fraction, ms: composed(times, policy, expected.passes), routed: true });
    const where = classifier.timed.accelerator === "webgpu" ? "graphics processor" : "one thread";
    showTimes(rows, `One picture at a time, median of ${ROUNDS} batches. LiteRT.js, ${classifier.build} build, ${where}.`);
    byId("save").hidden = false;
    showExpected();
  } finally {
    [button.disabled, bar.hidden] = [false, true];
  }
}

/** Moves to the processor or the graphics processor; what was timed on the other one is no longer shown. */
async function chooseAccelerator(accelerator) {
  byId("times").hidden = byId("times-note").hidden = byId("save").hidden = true;
  byId("accelerator-note").textContent = "Opening the networks there";
  try {
    const [there, all] = await classifier.useAccelerator(accelerator);
    const rest = there < all ? " The others cannot, and stay on the processor." : "";
    byId("accelerator-note").textContent = accelerator === "wasm" ? "" : `${there} of ${all} networks run there, in float32.${rest}`;
  } catch (error) {
    byId("accelerator-note").textContent = "";
    byId("accelerator").value = "wasm";
    await classifier.useAccelerator("wasm");
    throw error;
  } finally {
    showExpected();
    await answerAgain();
  }
}

/** An event's handler, whose errors are shown. */
function told(job) {
  return async (event) => {
    try {
      await job(event);
    } catch (error) {
      showError(error);
    }
  };
}

function wire() {
  camera = new Camera(byId("video"));
  const missing = Camera.missing();
  byId("camera").disabled = missing !== null;
  [byId("camera-note").hidden, byId("camera-note").textContent] = [missing === null, missing ?? ""];
  byId("frame").classList.toggle("whole", classifier.boxes);
  byId("save").classList.toggle("unused", classifier.boxes); // a report of a detector reads no such figures
  byId("invert-row").hidden = classifier.manifest.image_shape[2] !== 1;
  byId("camera").onclick = told(toggleCamera);
  byId("file").onchange = told(({ target }) => target.files[0] && openFile(target.files[0]));
  byId("invert").onchange = told(answerAgain);
  byId("policy").onchange = told(({ target: { value } }) => choose(/^\d+$/.test(value) ? Number(value) : value));
  byId("budget").oninput = told(spend);
  byId("accelerator-row").hidden = !navigator.gpu;
  byId("accelerator").onchange = told(({ target }) => chooseAccelerator(target.value));
  byId("measure").onclick = told(measure);
  byId("save").onclick = () => saveAs("figures.json", JSON.stringify(deviceFigures(classifier.timed), null, 1));
  const frame = byId("frame");
  frame.ondragover = (event) => (event.preventDefault(), frame.classList.add("over"));
  frame.ondragleave = () => frame.classList.remove("over");
  frame.ondrop = told((event) => {
    event.preventDefault();
    frame.classList.remove("over");
    return event.dataTransfer.files[0] && openFile(event.dataTransfer.files[0]);
  });
}

/** For programs that drive the page: a promise of the classifier. */
globalThis.dsKeras = start();

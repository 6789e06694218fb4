// The bundle, ready to run: one image at a time, under a policy and a budget. No part of the page itself.
"use strict";

const KEPT = 24; // images that the routed run is timed on
const AVERAGED = 20; // runs, for the milliseconds that are shown

class Classifier {
  /** readData(name) gives the page's data; progress(share, text) is told how far it is. */
  static async open(settings, readData, progress) {
    await progress(0.05, "Unpacking LiteRT.js");
    const build = await startLiteRt((name) => readData(name).then((data) => inflated(data, "gzip", settings.sizes[name])));
    await progress(0.5, "Reading the bundle");
    const bundle = await Bundle.open(await readData("model.dsbundle"));
    await bundle.checkClasses();
    const made = new Classifier(bundle, build, settings.runtime), files = made.router.files(made.policy);
    for (const [i, file] of files.entries()) {
      await progress(0.6 + (0.4 * i) / files.length, `Slicing ${file}`);
      await made.networks.open(file);
    }
    return made;
  }

  constructor(bundle, build, runtime) {
    const { manifest } = bundle;
    Object.assign(this, { bundle, manifest, build, runtime, queue: Promise.resolve(), recent: [], timed: null });
    this.networks = new Networks(bundle, globalThis.LiteRtJs);
    this.router = new Router(manifest, this.networks);
    this.levels = manifest.madds.body.length;
    this.boxes = givesBoxes(manifest);
    this.costs = manifest.madds.body.map((body) => manifest.madds.start + body);
    this.largest = largestMadds(manifest);
    this.setPolicy(manifest.policy.default === "random" ? "cascade" : manifest.policy.default);
  }

  /** "gate", "cascade" or a level; with the settings that the bundle was exported with. */
  setPolicy(policy) {
    const settings = typeof policy === "number" ? [] : this.manifest.policy.knobs[policy];
    Object.assign(this, { policy, settings, fraction: null, timed: null });
    this.restart();
  }

  /** Average multiply-adds as a share of the largest level's. */
  setBudget(fraction) {
    Object.assign(this, { settings: settingsAt(this.manifest, this.policy, fraction), fraction, timed: null });
    this.restart();
  }

  /** Runs on "wasm", the processor, or "webgpu". Gives [networks of the policy that do, all of them]: some cannot. */
  useAccelerator(accelerator) {
    return this.inTurn(async () => {
      this.restart();
      this.timed = null;
      await this.networks.use(accelerator);
      const files = this.router.files(this.policy), opened = [];
      for (const file of files) opened.push(await this.networks.open(file));
      return [opened.filter(({ runs }) => runs === accelerator).length, files.length];
    });
  }

  /** Forgets what was seen under other settings. */
  restart() {
    Object.assign(this, { seen: Array(this.levels).fill(0), times: [] });
  }

  /** One thing at a time: the networks' memory is shared. */
  inTurn(job) {
    const done = this.queue.then(job);
    this.queue = done.catch(() => {});
    return done;
  }

  /** From pixels to what the network reads. */
  input(pixels, invert = false) {
    const how = this.boxes ? { stretched: true } : this.manifest.preprocessing;
    const image = networkInput(pixels, this.manifest.image_shape, how);
    return invert ? inverted(image) : image;
  }

  /** {logits, level, madds} of what `input` gave. */
  run(image) {
    return this.inTurn(() => this.router.run(image, this.policy, this.settings));
  }

  /** As `run`, with the classes, how often each level answered since the settings changed, and milliseconds. */
  classify(image) {
    return this.inTurn(async () => {
      const { policy, settings, seen, times } = this;
      if (!times.length) await this.router.run(image, policy, settings); // opens what is closed, and warms up
      const began = performance.now(), found = await this.router.run(image, policy, settings);
      times.push(performance.now() - began);
      if (times.length > AVERAGED) times.shift();
      seen[found.level]++;
      this.recent.push(image);
      if (this.recent.length > KEPT) this.recent.shift();
      const answer = this.boxes ? { things: chooseBoxes(found.boxes, found.scores) } : { classes: this.classes(found.logits) };
      return { ...found, policy, ...answer, ms: this.average(times) };
    });
  }

  /** The median where the clock shows a difference; the mean where it is too coarse. */
  average(times) {
    const middle = median(times);
    return middle >= 2 ? middle : times.reduce((sum, ms) => sum + ms, 0) / times.length;
  }

  classes(logits, top = 3) {
    const named = softmax(logits).map((probability, k) => ({ name: this.nameOf(k), probability }));
    return named.sort((a, b) => b.probability - a.probability).slice(0, top);
  }

  nameOf(kind) {
    return this.manifest.labels?.[kind] ?? `class ${kind}`;
  }

  /** What the budget table expects of the settings: {accuracy, ends of each level or null}; null without a table. */
  expected() {
    if (typeof this.policy === "number") {
      const row = budgetRows(this.manifest, "levels").find(([[level]]) => level === this.policy);
      return { accuracy: row ? row[2] : null, ends: this.costs.map((_, k) => Number(k === this.policy)) };
    }
    if (this.fraction === null || !budgetRange(this.manifest, this.policy)) return null;
    const { accuracy, passes } = expectedAt(this.manifest, this.policy, this.fraction);
    return { accuracy, passes, ends: passes && endsFromPasses(this.manifest, this.policy, passes) };
  }

  /** Times every level, and the routed run on the pictures seen. */
  measure(progress) {
    return this.inTurn(async () => {
      const { policy, settings, fraction } = this, [height, width, channels] = this.manifest.image_shape;
      const noise = Float32Array.from({ length: height * width * channels }, () => Math.floor(256 * Math.random()));
      const images = this.recent.slice(), part = images.length ? 0.8 : 1;
      const times = await timeParts(this.router, images[0] ?? noise, (share) => progress(part * share));
      const tell = (share) => progress(part + (1 - part) * share);
      const routed = images.length ? await timeRouted(this.router, images, policy, settings, tell) : null;
      this.timed = { ...this, times, routed, policy, settings, fraction, accelerator: this.networks.accelerator };
      return this.timed;
    });
  }
}

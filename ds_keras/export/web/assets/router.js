// Runs one image under a policy: which files, and in which order. See ds_keras.runtime.router.
"use strict";

class Router {
  /**
   * networks.run(name, input) gives {logits, features, gate} of a file, as far as it has them, or {boxes, scores}:
   * numbers, and features as something that another run takes. networks.release(outputs) ends the life of the features.
   */
  constructor(manifest, networks) {
    const { start, gate, body } = manifest.madds;
    Object.assign(this, { networks, start, gate, bodies: body, order: manifest.policy.cascade });
    this.doubt = confidenceOf(manifest);
    this.noGate = givesBoxes(manifest); // only a cascade knows boxes
  }

  /** The names of the files that a policy runs, in the order in which an image meets them. */
  files(policy) {
    if (policy === "gate") return ["route", ...this.bodies.map((_, k) => `body_${k}`)];
    if (policy === "cascade") return this.order.map((k, i) => `${i ? "body" : "entry"}_${k}`);
    return [`entry_${policy}`];
  }

  /** {logits, level, madds} of an image; `policy` is "gate", "cascade" or a level. */
  async run(image, policy, settings) {
    if (policy === "gate") return this.byGate(image, settings[0]);
    if (policy === "cascade") return this.inTurn(image, settings);
    const found = await this.networks.run(`entry_${policy}`, image);
    this.networks.release(found);
    return this.result(found, policy, this.start + this.bodies[policy]);
  }

  async byGate(image, shift) {
    const route = await this.networks.run("route", image), level = gateLevel(route.gate, shift, this.bodies);
    const found = await this.networks.run(`body_${level}`, route.features);
    this.networks.release(route);
    return this.result(found, level, this.start + this.gate + this.bodies[level]);
  }

  async inTurn(image, thresholds) {
    let level = this.order[0], madds = this.start + this.bodies[level];
    const entry = await this.networks.run(`entry_${level}`, image);
    let found = entry;
    for (let step = 0; step + 1 < this.order.length && this.sure(found) < Math.fround(thresholds[step]); step++) {
      level = this.order[step + 1];
      madds += this.bodies[level];
      found = await this.networks.run(`body_${level}`, entry.features);
    }
    this.networks.release(entry);
    return this.result(found, level, madds);
  }

  /** How sure a level is: of the class, or of the boxes. */
  sure({ logits, boxes, scores }) {
    return this.doubt ? boxConfidence(chooseBoxes(boxes, scores, LEAST), this.doubt) : margin(logits);
  }

  result({ logits, boxes, scores }, level, madds) {
    const found = { logits, level, madds: Math.fround(madds) };
    return boxes ? { ...found, boxes, scores } : found;
  }
}

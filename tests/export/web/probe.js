// Runs the page's reader and router under node: one task as a line of JSON on stdin, one answer on stdout.
"use strict";
const fs = require("fs");
const vm = require("vm");
const readline = require("readline");

const names = "Bundle plainSha256 hex Router checkManifest settingsAt expectedAt margin networkInput toHalf chooseBoxes boxConfidence CONFIDENCES";
const scripts = fs.readFileSync(process.argv[2], "utf8");
vm.runInThisContext(`(() => {${scripts}\nglobalThis.page = { ${names.split(" ").join(", ")} }; })();`);
const { page } = globalThis;

/** The most memory so far. resourceUsage() would count the process that started this one. */
function peak() {
  const status = "/proc/self/status";
  const found = fs.existsSync(status) && fs.readFileSync(status, "utf8").match(/VmHWM:\s*(\d+)/);
  return found ? Number(found[1]) : process.memoryUsage().rss / 1024;
}

const tasks = {
  async files({ path, own }) {
    const bundle = await page.Bundle.open(new Uint8Array(fs.readFileSync(path))), found = {};
    if (own) Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
    for (const name of bundle.files) found[name] = page.hex(page.plainSha256(await bundle.file(name)));
    return { id: bundle.id, files: found };
  },
  async classes({ path }) {
    await (await page.Bundle.open(new Uint8Array(fs.readFileSync(path)))).checkClasses();
    return "ok";
  },
  sha256({ data }) {
    return data.map((text) => page.hex(page.plainSha256(new Uint8Array(Buffer.from(text, "base64")))));
  },
  halves({ values }) {
    return values.map((value) => page.toHalf(value));
  },
  async route({ manifest, policy, settings, logits, gates }) {
    const networks = {
      run: async (name, i) => ({ logits: logits[name.split("_")[1] ?? 0][i], gate: gates[i], features: i }),
      release: () => {},
    };
    const router = new page.Router(manifest, networks), found = [];
    for (let i = 0; i < gates.length; i++) found.push(await router.run(i, policy, settings));
    return found.map(({ level, madds }) => [level, madds]);
  },
  boxes({ boxes, scores, threshold, iou, most }) {
    const numbers = (text) => new Float32Array(new Uint8Array(Buffer.from(text, "base64")).buffer);
    const found = page.chooseBoxes(numbers(boxes), numbers(scores), threshold, iou, most);
    const sure = page.CONFIDENCES.map((name) => page.boxConfidence(found, name));
    return { rows: found.map(({ box, score, kind }) => [...box, score, kind]), sure };
  },
  settings: ({ manifest, policy, fractions }) => fractions.map((fraction) => page.settingsAt(manifest, policy, fraction)),
  input({ data, width, height, shape, preprocessing }) {
    const pixels = { data: new Uint8ClampedArray(Buffer.from(data, "base64")), width, height };
    return Array.from(page.networkInput(pixels, shape, preprocessing));
  },
};

(async () => {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { task, ...rest } = JSON.parse(line), began = Date.now();
    let answer;
    try {
      answer = { value: await tasks[task](rest) };
    } catch (error) {
      answer = { error: `${error.message}` };
    }
    console.log(JSON.stringify({ ...answer, ms: Date.now() - began, kilobytes: peak() }));
  }
})();

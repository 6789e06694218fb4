// The networks of a bundle in LiteRT.js: each made and opened when it is first used.
"use strict";

const OPEN_BYTES = 96 * 2 ** 20; // of the files that stay open; the one unused for longest is closed first

/** What LiteRT.js imports from @litertjs/wasm-utils: starts the WebAssembly module. */
globalThis.createWasmLib = async (LiteRt) => new LiteRt(await globalThis.ModuleFactory(globalThis.Module));

/** Starts LiteRT.js. Returns which of its builds runs: "relaxed", or "compatible" where the browser lacks relaxed SIMD. */
async function startLiteRt(readData) {
  const build = (await globalThis.LiteRtJs.supportsFeature("relaxedSimd")) ? "relaxed" : "compatible";
  const script = document.createElement("script");
  script.textContent = document.getElementById(`glue-${build}`).textContent;
  globalThis.Module = { wasmBinary: await readData(`litert-${build}.wasm.gz`) };
  document.head.append(script); // runs at once: it is inside the page, and the page's policy names its hash
  await globalThis.LiteRtJs.loadLiteRt("");
  return build;
}

/** Lets LiteRT.js use the graphics processor. Throws where the browser gives none. */
async function startWebGpu(library) {
  const environment = await library.Environment.create(); // asks for a device
  if (!environment.webGpuDevice) throw new Error("This browser gives no graphics processor (WebGPU). The processor goes on.");
  library.getGlobalLiteRt().setDefaultEnvironment(environment);
}

class Networks {
  constructor(bundle, library) {
    Object.assign(this, { bundle, library, opened: new Map(), bytes: 0, accelerator: "wasm" });
  }

  /** Sets where networks run: "wasm", the processor, or "webgpu". What is open is closed. */
  async use(accelerator) {
    for (const { model } of this.opened.values()) model.delete();
    Object.assign(this, { opened: new Map(), bytes: 0, accelerator: "wasm" });
    if (accelerator === "webgpu" && !this.library.getWebGpuDevice()) await startWebGpu(this.library);
    this.accelerator = accelerator;
  }

  /** A network, on the graphics processor if all of it runs there, else on the processor: {model, runs}. */
  async compiled(data) {
    const model = await this.library.loadAndCompile(data, { accelerator: this.accelerator, gpuOptions: { precision: "fp32" } });
    if (this.accelerator === "wasm" || model.isFullyAccelerated) return { model, runs: this.accelerator };
    model.delete();
    return { model: await this.library.loadAndCompile(data, { accelerator: "wasm" }), runs: "wasm" };
  }

  /** Makes a file and opens it. */
  async open(name) {
    const known = this.opened.get(name);
    if (known) {
      this.opened.delete(name); // the last of a Map is the one used last
      this.opened.set(name, known);
      return known;
    }
    const data = await this.bundle.file(name);
    const { model, runs } = await this.compiled(data);
    const [input] = model.getInputDetails();
    const network = { model, runs, input: input.name, dtype: input.dtype, shape: [...input.shape], size: data.length };
    this.opened.set(name, network);
    this.bytes += data.length;
    for (const [other, { model, size }] of this.opened) {
      if (this.bytes <= OPEN_BYTES || other === name) break;
      model.delete();
      this.opened.delete(other);
      this.bytes -= size;
    }
    return network;
  }

  /** Runs an image (Float32Array), or the features that another network gave: {logits, gate, features, boxes, scores}. */
  async run(name, input) {
    const network = await this.open(name), own = ArrayBuffer.isView(input);
    const tensor = own ? new this.library.Tensor(asType(input, network.dtype), network.shape) : input;
    const outputs = await network.model.run({ [network.input]: tensor });
    if (own) tensor.delete();
    const found = { features: outputs.features };
    for (const key of ["logits", "gate", "boxes", "scores"]) {
      if (!outputs[key]) continue;
      found[key] = await outputs[key].data();
      outputs[key].delete();
    }
    return found;
  }

  release(outputs) {
    if (outputs.features) outputs.features.delete();
  }
}

/** An int8 network takes uint8 images, rounded. */
function asType(image, dtype) {
  if (dtype === "float32") return image;
  return Uint8Array.from(image, (value) => Math.min(255, Math.max(0, Math.round(value))));
}

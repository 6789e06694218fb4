// Reads a bundle in one file: every number is checked before it is used, every part and every made file against its hash.
"use strict";

const MAX_INDEX = 2 ** 24; // bytes of bundle.json

class Bundle {
  /** Opens the bytes of a bundle. Throws where it is none, or a damaged one. */
  static async open(bytes) {
    try {
      const members = readArchive(bytes), index = storedMember(members, INDEX, MAX_INDEX);
      return new Bundle(members, checkManifest(parsed(index)), await sha256(index));
    } catch (error) {
      throw new Error(`not a bundle, or a damaged one: ${error.message}`);
    }
  }

  constructor(members, manifest, id) {
    Object.assign(this, { members, manifest, id, kernels: null, parts: new Map() });
    this.files = fileNames(manifest.madds.body.length);
  }

  /** A part's bytes, compared with their hash when they are first read. */
  async part(name) {
    if (this.parts.has(name)) return this.parts.get(name);
    const entry = this.manifest.parts[name], data = storedMember(this.members, name, entry.bytes);
    if (data.length !== entry.bytes || (await sha256(data)) !== entry.sha256) {
      throw new Error(`${name} is damaged: its size or sha256 is not that of ${INDEX}`);
    }
    this.parts.set(name, data);
    return data;
  }

  async template(name) {
    const { files, kernels, format_version: version } = this.manifest;
    if (!this.files.includes(name)) throw new Error(`name must be one of ${this.files}, received ${name}`);
    const { part, size } = files[name], data = await this.part(part);
    if (version === 2) return separateTemplate(data, size, kernels);
    const route = files.route.part;
    return sharedTemplate(await this.part(route), part === route ? null : data, name, files, kernels, version === TASK_VERSION);
  }

  /** Compares the outputs that bundle.json names with the graph of a file that gives them. Throws for others. */
  async checkClasses() {
    const name = "body_0", { graph } = await this.template(name);
    for (const [output, wanted] of Object.entries(outputShapes(this.manifest))) {
      let shape;
      try {
        shape = outputShape(graph, output);
      } catch (error) {
        throw new Error(`${name} is damaged: ${error.message}`);
      }
      if ([1, ...wanted].join(" x ") !== shape.join(" x ")) {
        throw new Error(`${name} must give ${wanted.join(" x ")} ${output}, its shape is ${shape.join(" x ")}`);
      }
    }
  }

  /** A static TFLite file, whose hash is that of bundle.json: "route", "entry_<k>" or "body_<k>". */
  async file(name) {
    const template = await this.template(name), { part, dtype } = this.manifest.kernels;
    this.kernels ??= (await this.part(part)).slice(); // its numbers must begin at a multiple of their size
    const data = materialize(template, this.kernels, dtype);
    if ((await sha256(data)) !== this.manifest.files[name].sha256) {
      throw new Error(`${name} is damaged: what its parts make is not the published file`);
    }
    return data;
  }
}

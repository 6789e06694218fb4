// What a file's graph, a flatbuffer, says of its outputs. See ds_keras.runtime.graph_check.
"use strict";

class Flatbuffer {
  constructor(bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength); // throws outside of the bytes
  }

  target(position) {
    return position + this.view.getUint32(position, true);
  }

  /** Where a table's field lies; 0 where it is absent. */
  field(table, slot) {
    const layout = table - this.view.getInt32(table, true), at = 4 + 2 * slot;
    const offset = at < this.view.getUint16(layout, true) ? this.view.getUint16(layout + at, true) : 0;
    return offset && table + offset;
  }

  /** A vector of 32-bit numbers, or of what points to tables: {start, length}. */
  vector(table, slot) {
    const position = this.field(table, slot);
    if (!position) return { start: 0, length: 0 };
    const start = this.target(position), length = this.view.getUint32(start, true);
    need(length <= this.view.byteLength, "vectors within the graph", length);
    return { start: start + 4, length };
  }

  table({ start, length }, i) {
    need(i < length, "an element of a vector", i);
    return this.target(start + 4 * i);
  }

  integer(table, slot) {
    const position = this.field(table, slot);
    return position && this.view.getInt32(position, true);
  }
}

/** The shape of an output of the signature. Throws where there is none, or the graph is damaged. */
function outputShape(bytes, name) {
  const graph = new Flatbuffer(bytes), model = graph.target(0);
  const tensors = graph.vector(graph.table(graph.vector(model, 2), 0), 0);
  const outputs = graph.vector(graph.table(graph.vector(model, 7), 0), 1);
  for (let i = 0; i < outputs.length; i++) {
    const output = graph.table(outputs, i), text = graph.vector(output, 0);
    if (new TextDecoder().decode(bytes.subarray(text.start, text.start + text.length)) !== name) continue;
    const shape = graph.vector(graph.table(tensors, graph.integer(output, 1)), 0);
    return Array.from({ length: shape.length }, (_, axis) => graph.view.getInt32(shape.start + 4 * axis, true));
  }
  throw new Error(`it has no output ${name}`);
}

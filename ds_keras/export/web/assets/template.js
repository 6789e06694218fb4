// A file's template: its graph without kernels, and the plan of the copies that belong behind it. See ds_keras.runtime.template.
"use strict";

const MAX_GRAPH = 2 ** 26, MAX_PLAN = 2 ** 24, MAX_FILES = 2; // bytes, bytes, files of a level's part

/** Of a bundle of format version 2, which has a part for each file. */
async function separateTemplate(part, size, kernels) {
  const members = readArchive(part);
  const graph = await unpackedMember(members, "graph.tflite", Math.min(size, MAX_GRAPH));
  const tail = await unpackedMember(members, "tail.bin", MAX_PLAN);
  const plan = parsed(await unpackedMember(members, "plan.json", MAX_PLAN));
  const packed = await unpackedMember(members, "factors.bin", MAX_PLAN);
  need(packed.length % 4 === 0, "factors of whole numbers", packed.length);
  const factors = new Float32Array(packed.slice().buffer);
  return { graph, tail, factors, size, copies: checkedPlan(plan, kernels, graph.length, factors.length, size - tail.length) };
}

/**
 * Of a bundle of format version 3: the files of a level share what is equal. `level` is null for the route itself.
 * Of version 4 too, where a file may copy a kernel again: `repeated`.
 */
async function sharedTemplate(route, level, name, files, kernels, repeated) {
  const start = readArchive(route), own = level === null ? start : readArchive(level);
  const pattern = await unpackedMember(start, "pattern.bin", MAX_GRAPH);
  const words = [joinedPlanes(await unpackedMember(start, "words.bin", MAX_PLAN))];
  if (level !== null) words.push(joinedPlanes(await unpackedMember(own, "words.bin", MAX_PLAN)));
  const plan = parsed(await unpackedMember(own, "plan.json", MAX_PLAN));
  const literals = await unpackedMember(own, "literals.bin", MAX_GRAPH);
  need(Array.isArray(plan.files) && Array.isArray(plan.copies), "lists of files and copies", name);
  need(plan.files.length <= MAX_FILES, `at most ${MAX_FILES} files in a part`, plan.files.length);
  const factors = new Float32Array(concatenated(words).buffer);
  let source = concatenated([...words, pattern]), used = 0;
  for (const file of plan.files) {
    need(Object.hasOwn(files, file.name), "files of the bundle", file.name);
    const { size } = files[file.name];
    const graph = whole(file.graph, 1, Math.min(size, MAX_GRAPH));
    const made = new Uint8Array(graph + whole(file.tail, 0, Math.min(size - graph, MAX_PLAN)));
    used = putTogether(file.pieces, source, literals, used, made);
    if (file.name === name) {
      need(Array.isArray(file.copies), "a list of copies", name);
      const rows = file.copies.map((row) => plan.copies[whole(row, 0, plan.copies.length - 1)]);
      const tail = made.subarray(graph);
      const copies = checkedPlan(rows, kernels, graph, factors.length, size - tail.length, repeated);
      return { graph: made.subarray(0, graph), tail, factors, size, copies };
    }
    source = concatenated([source, made]);
  }
  throw new Error(`it has no ${name}`);
}

function parsed(bytes) {
  return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
}

function concatenated(arrays) {
  const made = new Uint8Array(arrays.reduce((sum, array) => sum + array.length, 0));
  let at = 0;
  for (const array of arrays) {
    made.set(array, at);
    at += array.length;
  }
  return made;
}

/** Numbers of four bytes whose first bytes lie together, then the second ones, ...: one number behind another. */
function joinedPlanes(data) {
  need(data.length % 4 === 0, "words of four bytes", data.length);
  const count = data.length / 4, made = new Uint8Array(data.length);
  for (let plane = 0; plane < 4; plane++) {
    for (let i = 0; i < count; i++) made[4 * i + plane] = data[plane * count + i];
  }
  return made;
}

/** Fills `made`. A piece [own, skip, copied]: so many literals, then bytes of the source, `skip` behind the last copied one. */
function putTogether(pieces, source, literals, used, made) {
  need(Array.isArray(pieces), "a list of pieces", typeof pieces);
  let at = 0, place = 0;
  for (const piece of pieces) {
    need(Array.isArray(piece) && piece.length === 3, "pieces of three numbers", piece);
    const own = whole(piece[0], 0, Math.min(made.length - at, literals.length - used));
    made.set(literals.subarray(used, used + own), at);
    [used, at] = [used + own, at + own];
    place += whole(piece[1], -place, source.length - place);
    const copied = whole(piece[2], 0, Math.min(made.length - at, source.length - place));
    made.set(source.subarray(place, place + copied), at);
    [place, at] = [place + copied, at + copied];
  }
  need(at === made.length, "pieces that make a graph and a tail", made.length - at);
  return used;
}

/** A file's copies, after checking that they lie within the kernels, the factors and the file. */
function checkedPlan(plan, kernels, graph, factors, end, repeated = false) {
  need(Array.isArray(plan), "a plan that is a list", typeof plan);
  const known = ["kernel", "begin", "shape", "axis", "factor", "offset"], used = new Map(), width = BYTES[kernels.dtype];
  const limit = repeated ? MAX_COPIES : 1;
  let at = graph;
  const copies = plan.map((row) => {
    need(isObject(row) && Object.keys(row).every((key) => known.includes(key)), "copies of known fields", row);
    const follows = Math.ceil(at / ALIGNMENT) * ALIGNMENT;
    const copy = { offset: follows, ...row };
    const named = typeof copy.kernel === "string" && Object.hasOwn(kernels.index, copy.kernel);
    used.set(copy.kernel, (used.get(copy.kernel) ?? 0) + 1);
    need(named && used.get(copy.kernel) <= limit, limit === 1 ? "each kernel once" : `each kernel at most ${limit} times`, copy.kernel);
    const [position, full] = kernels.index[copy.kernel], shape = shapeOf(copy.shape, MAX_COUNT);
    const axes = Array.isArray(copy.begin) && copy.begin.length === full.length && shape.length === full.length;
    need(axes, "copies with the axes of their kernel", row);
    full.forEach((side, i) => need(whole(copy.begin[i], 0, side) + shape[i] <= side, "copies within their kernel", row));
    whole(copy.axis, 0, shape.length - 1);
    if (copy.factor !== null) {
      need(kernels.dtype !== "int8", "no factors for int8 codes, whose scales hold them", row);
      need(whole(copy.factor, 0, factors) + shape[copy.axis] <= factors, "factors in the fold vector", row);
    }
    need(whole(copy.offset, at, end) === follows, "copies one behind another", row);
    at = copy.offset + count(shape) * width;
    return { ...copy, full, position: position / width };
  });
  need(at === end, `a plan that ends with the kernels, at ${end}`, at);
  return copies;
}

// Slice at install: puts a file's kernels, cut from the full ones, back into its template. See ds_keras.runtime.materialize.
"use strict";

const ARRAYS = { float32: Float32Array, float16: Uint16Array, int8: Int8Array };

/** A static TFLite file: slice x factor, one float32 product for each weight. `kernels` holds the bytes of all full kernels. */
function materialize(template, kernels, dtype) {
  const width = BYTES[dtype], buffer = new ArrayBuffer(Math.ceil(template.size / width) * width);
  const file = new Uint8Array(buffer, 0, template.size), values = new ARRAYS[dtype](buffer);
  const full = new ARRAYS[dtype](kernels.buffer, kernels.byteOffset, Math.floor(kernels.length / width));
  file.set(template.graph);
  file.set(template.tail, template.size - template.tail.length);
  const scaled = dtype === "float16" ? scaleHalves : scaleFloats;
  for (const copy of template.copies) copySlice(copy, full, values, copy.offset / width, template.factors, scaled);
  return file;
}

/** Row by row; a row runs along the last axis. */
function copySlice(copy, full, values, to, factors, scaled) {
  const last = copy.shape.length - 1, length = copy.shape[last], rows = count(copy.shape.slice(0, last));
  for (let row = 0; row < rows; row++) {
    let from = copy.begin[last], channel = 0, rest = row, stride = copy.full[last];
    for (let i = last - 1; i >= 0; i--) {
      const index = rest % copy.shape[i];
      rest = (rest - index) / copy.shape[i];
      from += (copy.begin[i] + index) * stride;
      stride *= copy.full[i];
      if (i === copy.axis) channel = index;
    }
    from += copy.position;
    if (copy.factor === null) values.set(full.subarray(from, from + length), to);
    else scaled(full, from, values, to, length, factors, copy.factor + channel, copy.axis === last ? 1 : 0);
    to += length;
  }
}

function scaleFloats(full, from, values, to, length, factors, at, step) {
  for (let i = 0; i < length; i++) values[to + i] = full[from + i] * factors[at + step * i]; // storing rounds to float32
}

function scaleHalves(full, from, values, to, length, factors, at, step) {
  const numbers = halfNumbers();
  for (let i = 0; i < length; i++) values[to + i] = toHalf(numbers[full[from + i]] * factors[at + step * i]);
}

let knownHalves = null;

/** What each of the 65536 half precision numbers is. */
function halfNumbers() {
  if (knownHalves) return knownHalves;
  knownHalves = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, fraction = bits & 1023;
    const size = exponent ? (1 + fraction / 1024) * 2 ** (exponent - 15) : fraction * 2 ** -24;
    knownHalves[bits] = sign * (exponent < 31 ? size : fraction ? NaN : Infinity);
  }
  return knownHalves;
}

const HALF_FLOAT = new Float32Array(1), HALF_BITS = new Int32Array(HALF_FLOAT.buffer);

/** Rounds to float32, then to half precision; to the even one of two that are equally near. */
function toHalf(value) {
  HALF_FLOAT[0] = value;
  const bits = HALF_BITS[0], sign = (bits >>> 16) & 0x8000, size = bits & 0x7fffffff;
  if (size > 0x7f800000) return sign | 0x7e00; // not a number
  if (size >= 0x47800000) return sign | 0x7c00; // 65536 and more
  if (size < 0x33000000) return sign; // less than half of the smallest
  const exponent = size >>> 23, few = exponent < 113; // below 2^-14 halves have fewer digits
  const shift = few ? 126 - exponent : 13;
  const digits = few ? (size & 0x7fffff) | 0x800000 : size - 0x38000000;
  const half = digits >>> shift;
  return sign | (half + (((digits & ((1 << shift) - 1)) + (half & 1)) > 1 << (shift - 1)));
}

// From a photo to what the network reads: scaled, then cropped in the centre, as ds_keras classifies photos with Pillow.
"use strict";

const FILTERS = { // support on each side, and weight at a distance
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, (x) => {
    const d = Math.abs(x), a = -0.5;
    if (d < 1) return ((a + 2) * d - (a + 3)) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * a : 0;
  }],
};

/** RGBA pixels of a picture or a video frame; transparency is laid over white. */
function pixelsOf(source, width, height) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  context.drawImage(source, 0, 0, width, height);
  return context.getImageData(0, 0, width, height);
}

/** What the network reads: float32 in [0, 255], of shape [height, width, channels]. */
function networkInput(pixels, shape, preprocessing) {
  const [height, width, channels] = shape;
  const { crop_fraction: fraction = 1, interpolation = "bilinear", stretched = false } = preprocessing ?? {};
  const planes = channels === 1 ? greyPlane(pixels) : pixels.data, step = channels === 1 ? 1 : 4;
  const image = new Float32Array(height * width * channels);
  if (pixels.height === height && pixels.width === width) {
    for (let i = 0; i < height * width; i++) for (let c = 0; c < channels; c++) image[i * channels + c] = planes[i * step + c];
    return image;
  }
  const scale = Math.max(height / pixels.height, width / pixels.width) / fraction;
  const side = (own, kept) => (stretched ? kept : Math.max(roundHalfEven(own * scale), kept)); // before the crop
  const rows = weights(pixels.height, side(pixels.height, height), height, interpolation);
  const columns = weights(pixels.width, side(pixels.width, width), width, interpolation);
  const first = rows[0].start, last = rows.reduce((end, row) => Math.max(end, row.start + row.weights.length), 0);
  const across = new Float32Array((last - first) * width * channels);
  for (let y = first; y < last; y++) {
    for (let x = 0; x < width; x++) {
      const { start, weights: w } = columns[x];
      for (let c = 0; c < channels; c++) {
        let sum = 0;
        for (let k = 0, at = (y * pixels.width + start) * step + c; k < w.length; k++, at += step) sum += planes[at] * w[k];
        across[((y - first) * width + x) * channels + c] = sum;
      }
    }
  }
  const line = width * channels;
  for (let y = 0; y < height; y++) {
    const { start, weights: w } = rows[y];
    for (let i = 0; i < line; i++) {
      let sum = 0;
      for (let k = 0; k < w.length; k++) sum += across[(start - first + k) * line + i] * w[k];
      image[y * line + i] = Math.min(255, Math.max(0, roundHalfEven(sum)));
    }
  }
  return image;
}

/** For each kept pixel of a side: which pixels of the source it mixes, and how. `scaled` is the side before the crop. */
function weights(side, scaled, kept, interpolation) {
  const [support, weight] = FILTERS[interpolation], ratio = side / scaled, wide = Math.max(ratio, 1);
  return Array.from({ length: kept }, (_, i) => {
    const centre = (i + Math.floor((scaled - kept) / 2) + 0.5) * ratio;
    const start = Math.max(0, Math.trunc(centre - support * wide + 0.5));
    const end = Math.min(side, Math.trunc(centre + support * wide + 0.5));
    const found = Array.from({ length: end - start }, (_, k) => weight((start + k - centre + 0.5) / wide));
    const sum = found.reduce((a, b) => a + b, 0);
    return { start, weights: found.map((w) => w / sum) };
  });
}

/** Grey by the weights of ITU-R 601, in whole numbers as Pillow has it. */
function greyPlane({ data, width, height }) {
  const grey = new Uint8Array(width * height);
  for (let i = 0; i < grey.length; i++) grey[i] = (data[4 * i] * 19595 + data[4 * i + 1] * 38470 + data[4 * i + 2] * 7471 + 32768) >> 16;
  return grey;
}

function roundHalfEven(value) {
  const below = Math.floor(value), rest = value - below;
  if (rest !== 0.5) return Math.round(value);
  return below % 2 ? below + 1 : below;
}

/** Dark on light becomes light on dark, as the images of digits and clothes are. */
function inverted(image) {
  return image.map((value) => 255 - value);
}

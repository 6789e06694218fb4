// Pictures: the camera's frames, or a file that is chosen or dropped.
"use strict";

class Camera {
  constructor(video) {
    Object.assign(this, { video, stream: null });
  }

  /** Why there is none, or null. Browsers give the camera to https, localhost and, most of them, to file:// only. */
  static missing() {
    if (navigator.mediaDevices?.getUserMedia) return null;
    return window.isSecureContext
      ? "This browser gives no camera. Pictures work."
      : "The camera needs https: this page came over http. Pictures work; on a phone, choosing one can take a photo.";
  }

  async start() {
    const size = { width: { ideal: 640 }, height: { ideal: 480 } };
    this.stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment", ...size }, audio: false });
    this.video.srcObject = this.stream;
    await this.video.play();
  }

  stop() {
    this.stream?.getTracks().forEach((track) => track.stop());
    this.stream = this.video.srcObject = null;
  }

  get runs() {
    return this.stream !== null;
  }

  /** Pixels of the current frame; null before the first one. */
  frame() {
    const { videoWidth: width, videoHeight: height } = this.video;
    return width ? pixelsOf(this.video, width, height) : null;
  }
}

const MAX_PICTURE = 2 ** 24; // pixels; browsers on phones have no larger canvas

/** The pixels of an image file, upright. */
async function readPicture(blob) {
  const image = await createImageBitmap(blob).catch(() => {
    throw new Error("This file is no picture that the browser can read.");
  });
  const least = Math.min(1, Math.sqrt(MAX_PICTURE / (image.width * image.height)));
  const pixels = pixelsOf(image, Math.round(image.width * least), Math.round(image.height * least));
  image.close();
  return pixels;
}

// A heat map as a picture, as inference/saliency.py draws it.

const ENLARGED = 7;
const OPACITY = 0.65;

/** A PNG file: the model input with what speaks for the answer in yellow and red, what against it in blue. */
export async function heatPicture({ input, importance, scale }) {
  const { width, height, data } = input;
  const small = new OffscreenCanvas(width, height);
  const mixed = new ImageData(width, height);
  importance.forEach((value, at) => {
    const opacity = (OPACITY * Math.abs(value)) / scale;
    const colour = jet(Math.floor(Math.min(Math.max(128 + (127 * value) / scale, 0), 255)) / 255);
    colour.forEach((part, i) => (mixed.data[4 * at + i] = (1 - opacity) * data[at] + opacity * part));
    mixed.data[4 * at + 3] = 255;
  });
  small.getContext("2d").putImageData(mixed, 0, 0);
  const large = new OffscreenCanvas(width * ENLARGED, height * ENLARGED);
  const pen = large.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, large.width, large.height);
  return large.convertToBlob({ type: "image/png" });
}

/** Red, green and blue of the colour map "jet", blue at 0 and red at 1. */
function jet(share) {
  const ramp = (middle) => 255 * Math.min(Math.max(1.5 - Math.abs(4 * share - middle), 0), 1);
  return [ramp(3), ramp(2), ramp(1)];
}

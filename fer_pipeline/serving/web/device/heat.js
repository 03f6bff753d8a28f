// A heat map as a picture, as inference/saliency.py draws it.

const ENLARGED = 7;
const OPACITY = 0.75;
const [FOR, AGAINST] = [[178, 24, 43], [33, 102, 172]]; // red and blue

/** A PNG file: the model input with what speaks for the answer in red, what against it in blue. */
export async function heatPicture({ input, importance, scale }) {
  const { width, height, data } = input;
  const small = new OffscreenCanvas(width, height);
  const mixed = new ImageData(width, height);
  importance.forEach((value, at) => {
    const opacity = (OPACITY * Math.abs(value)) / scale;
    (value > 0 ? FOR : AGAINST).forEach((part, i) => (mixed.data[4 * at + i] = (1 - opacity) * data[at] + opacity * part));
    mixed.data[4 * at + 3] = 255;
  });
  small.getContext("2d").putImageData(mixed, 0, 0);
  const large = new OffscreenCanvas(width * ENLARGED, height * ENLARGED);
  const pen = large.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, large.width, large.height);
  return large.convertToBlob({ type: "image/png" });
}

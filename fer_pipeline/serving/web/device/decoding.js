// Files and camera frames as pixels.

import { Fault } from "./faults.js";
import { picture } from "./pixels.js";

const STRIP = 4_000_000; // pixels that are drawn at once: some browsers draw nothing on a canvas of more than 16 million

/** The pixels of a picture file, upright by its EXIF orientation, its colours as they are stored. */
export async function pixelsOfFile(file, mostPixels) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: "from-image", colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch (error) {
    throw error instanceof RangeError ? error : new Fault("This file is no picture that your browser reads.");
  }
  const { width, height } = bitmap;
  if (width * height > mostPixels) {
    bitmap.close();
    throw new Fault(`The picture has ${width} × ${height} pixels, at most ${mostPixels.toLocaleString("en")} are read: scale it down.`);
  }
  return pixelsOfBitmap(bitmap);
}

/** The pixels of a bitmap, which is closed. */
export function pixelsOfBitmap(bitmap) {
  const { width, height } = bitmap;
  const image = picture(width, height, 4);
  const high = Math.min(height, Math.max(1, Math.floor(STRIP / width)));
  const pen = new OffscreenCanvas(width, high).getContext("2d", { willReadFrequently: true });
  for (let top = 0; top < height; top += high) {
    const rows = Math.min(high, height - top);
    pen.fillStyle = "white"; // what is transparent shows it, as on the server
    pen.fillRect(0, 0, width, high);
    pen.drawImage(bitmap, 0, -top);
    image.data.set(pen.getImageData(0, 0, width, rows).data, top * width * 4);
  }
  bitmap.close();
  return image;
}

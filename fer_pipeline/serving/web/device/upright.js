// Which way up a picture is, from the faces in it: fer_pipeline/inference/detection/upright.py.

import { turned } from "./pixels.js";

/** {upright, found, quarters}: the picture turned so that its faces are upright, its faces, and by how many quarters. */
export async function detectUpright(detector, image, bounds) {
  const found = await detector.detect(image);
  if (found.some((face) => isUpright(face, bounds))) return { upright: image, found, quarters: 0 };
  let best = { sure: Math.max(0, ...found.map((face) => face.score)), upright: image, found, quarters: 0 };
  for (const quarters of [1, 2, 3]) {
    const upright = turned(image, quarters);
    const faces = (await detector.detect(upright)).filter((face) => face.score >= bounds.min_score && isUpright(face, bounds));
    const sure = Math.max(0, ...faces.map((face) => face.score));
    if (sure > best.sure) best = { sure, upright, found: faces, quarters };
  }
  return best;
}

/** Whether a face is seen from the front, with the eyes above the mouth; always true without landmarks. */
export function isUpright({ box: [x1, y1, x2, y2], landmarks }, bounds) {
  if (!landmarks) return true;
  const [[rightX, rightY], [leftX, leftY], , [cornerX, cornerY], [otherX, otherY]] = landmarks;
  const [downX, downY] = [(cornerX + otherX - rightX - leftX) / 2, (cornerY + otherY - rightY - leftY) / 2];
  const lean = (Math.atan2(Math.abs(downX), downY) * 180) / Math.PI;
  const eyes = Math.hypot(leftX - rightX, leftY - rightY) / Math.sqrt((x2 - x1) * (y2 - y1));
  return lean <= bounds.max_lean && eyes >= bounds.min_eye_distance && y2 - y1 >= bounds.min_height * (x2 - x1);
}

// Answers in the form of docs/outputs.md: floats have at most 4 decimals, pixels and degrees one.

export const SCHEMA_VERSION = 1;

const round = (value, digits = 4) => (typeof value === "number" ? Number(value.toFixed(digits)) : value);
const all = (values, digits) => values && Object.fromEntries(Object.entries(values).map(([name, value]) => [name, round(value, digits)]));

/** One face of a picture of this size; fields that only a camera has, such as `track`, stay. */
export function faceValues(face, { width, height }) {
  const { box, detection_score, emotion, top_emotion, confidence, probabilities, quality, pose, reasons, rotation = 0, neutral_reference = null, smoothed, ...rest } = face;
  return {
    box: all(box, 1),
    relative_box: box && all({ x: box.x / width, y: box.y / height, width: box.width / width, height: box.height / height }),
    detection_score: round(detection_score),
    rotation,
    emotion,
    top_emotion,
    confidence: round(confidence),
    probabilities: all(probabilities),
    quality: { ...all(quality, 1), outside: round(quality.outside, 3) },
    pose: all(pose, 1),
    reasons,
    neutral_reference,
    ...rest,
    ...(smoothed && { smoothed: all(smoothed) }),
  };
}

// What went wrong on this device, in words to show.

export class Fault extends Error {}

/** Words for any error of the work on a picture. */
export function worded(error) {
  if (error instanceof Fault) return error.message;
  if (error instanceof RangeError || /memory|allocat/i.test(error.message)) {
    return "This device has not enough memory for it: close other tabs or programs, or choose a smaller picture.";
  }
  return `It failed on this device: ${error.message}`;
}

// What went wrong, in words to show.

/** An error for a person to read; `code` names its kind for programs. */
export class Fault extends Error {
  constructor(message, code = "device") {
    super(message);
    this.code = code;
  }
}

/** Words for any error of the work on a picture. */
export function worded(error) {
  if (error instanceof Fault) return error.message;
  if (error instanceof RangeError || /memory|allocat/i.test(error.message)) {
    return "This device has not enough memory for it: close other tabs or programs, or choose a smaller picture.";
  }
  return `It failed on this device: ${error.message}`;
}

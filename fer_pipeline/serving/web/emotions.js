// The palette of Okabe and Ito, told apart with colour-blind eyes; the same as in annotated pictures.

export const COLOURS = {
  angry: "#d55e00",
  disgust: "#009e73",
  fear: "#cc79a7",
  happy: "#f0e442",
  sad: "#0072b2",
  surprise: "#56b4e9",
  neutral: "#e69f00",
  uncertain: "#a0a0a0",
};
export const EMOTIONS = Object.keys(COLOURS).slice(0, 7);

// A colour and a dash pattern for each emotion: nobody has to tell them apart by colour alone.

const PLACES = ["neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised"];
const DASHES = ["2 3", "8 3", "none", "12 4", "none", "6 3 2 3", "4 2", "10 3 2 3"];

function place(label, labels) {
  const known = PLACES.indexOf(label);
  return (known >= 0 ? known : Math.max(labels.indexOf(label), 0)) % PLACES.length;
}

export function colourOf(label, labels) {
  return `var(--e${place(label, labels)})`;
}

export function dashesOf(label, labels) {
  return DASHES[place(label, labels)];
}

/** The colour as it is now, for a canvas, which knows no variables. */
export function paintOf(label, labels) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--e${place(label, labels)}`).trim();
}

export function percent(probability) {
  return `${Math.round(100 * probability)} %`;
}

export function seconds(time) {
  return `${time.toFixed(1)} s`;
}

// Boxes and labels over the picture.

import { paintOf, percent } from "./palette.js";

const INK = "#0b0d11";

export class Overlay {
  /** @param {HTMLCanvasElement} canvas which covers a picture shown with object-fit: contain */
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
  }

  clear() {
    this.context.clearRect(0, 0, this.canvas.width, this.canvas.height);
  }

  /**
   * @param {{box: number[], track: number, found: boolean, buffered: number, prediction: object | null}[]} faces
   * @param {[number, number]} size of the picture that the boxes are of, in px
   * @param {{labels: string[], frames: number}} model
   * @param {boolean} mirrored whether the picture is shown like a mirror's
   */
  draw(faces, size, model, mirrored = false) {
    const { clientWidth, clientHeight } = this.canvas;
    const density = devicePixelRatio || 1;
    const width = Math.round(clientWidth * density);
    const height = Math.round(clientHeight * density);
    if (this.canvas.width !== width || this.canvas.height !== height) {
      this.canvas.width = width;
      this.canvas.height = height;
    }
    this.clear();
    if (!size[0] || !size[1]) return;
    this.context.setTransform(density, 0, 0, density, 0, 0);
    const scale = Math.min(clientWidth / size[0], clientHeight / size[1]);
    const left = (clientWidth - scale * size[0]) / 2;
    const top = (clientHeight - scale * size[1]) / 2;
    for (const face of faces) {
      let [x0, y0, x1, y1] = face.box.map((edge) => edge * scale);
      if (mirrored) [x0, x1] = [scale * size[0] - x1, scale * size[0] - x0];
      this.#drawFace(face, model, left + x0, top + y0, x1 - x0, y1 - y0);
    }
    this.context.setTransform(1, 0, 0, 1, 0, 0);
  }

  #drawFace(face, model, x, y, width, height) {
    const { context } = this;
    const { prediction } = face;
    const colour = prediction ? paintOf(prediction.label, model.labels) : "#d5dae3";
    context.globalAlpha = face.found ? 1 : 0.45;
    for (const [line, stroke] of [[5, "#0b0d1199"], [2.5, colour]]) {
      context.lineWidth = line;
      context.strokeStyle = stroke;
      context.beginPath();
      context.roundRect(x, y, width, height, 8);
      context.stroke();
    }
    const said = prediction
      ? `${prediction.label} ${percent(prediction.probabilities[prediction.label])}`
      : `buffering ${Math.min(face.buffered, model.frames)}/${model.frames}`;
    const text = `${face.track} · ${said}`;
    context.font = "600 14px system-ui, sans-serif";
    const wide = context.measureText(text).width + 16;
    const labelX = Math.max(4, Math.min(x, this.canvas.clientWidth - wide - 4));
    const labelY = y - 30 > 2 ? y - 30 : Math.min(y + height + 6, this.canvas.clientHeight - 28);
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(labelX, labelY, wide, 24, 7);
    context.fill();
    context.fillStyle = isDark(colour) ? "#ffffff" : INK;
    context.textBaseline = "middle";
    context.fillText(text, labelX + 8, labelY + 12.5);
    context.globalAlpha = 1;
  }
}

/** Whether white is easier to read on a #rrggbb colour than ink is; weights of Rec. 709. */
function isDark(colour) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16) / 255);
  return 0.2126 * red ** 2.2 + 0.7152 * green ** 2.2 + 0.0722 * blue ** 2.2 < 0.18;
}

// The attention that each frame of the window gets: a strip of bars.

import { byId, element } from "./elements.js";

export class AttentionStrip {
  constructor() {
    this.card = byId("attention-card");
    this.strip = byId("attention");
  }

  /** @param {number[] | undefined} weights of a window's frames, summing to 1; none hides the strip */
  show(weights) {
    this.card.hidden = !weights?.length;
    if (this.card.hidden) return;
    while (this.strip.children.length < weights.length) this.strip.append(element("span"));
    while (this.strip.children.length > weights.length) this.strip.lastChild.remove();
    const most = Math.max(...weights);
    weights.forEach((weight, place) => {
      const bar = this.strip.children[place];
      bar.style.height = `${Math.max((100 * weight) / most, 2)}%`;
      bar.style.opacity = 0.35 + (0.65 * weight) / most;
    });
    const peak = weights.indexOf(most) + 1;
    this.strip.setAttribute("aria-label", `Attention over ${weights.length} frames, most on frame ${peak}.`);
  }
}

// The predictions for a whole video, as they were at any moment of it.

const MODEL_FPS = 30000 / 1001; // of the frames that models look at, whatever the video's own rate

export class Recording {
  /** @param answer of the service for an uploaded video */
  constructor(answer) {
    this.answer = answer;
    this.model = answer.model;
    this.length = answer.seconds;
  }

  /** The faces in view at a time in seconds. */
  at(time) {
    const margin = 1.5 / (this.answer.fps || 30);
    return this.answer.faces.flatMap((face) => {
      const place = lastBefore(face.boxes, (box) => box[0], time + margin / 2);
      if (place < 0 || time - face.boxes[place][0] > 2 * margin) return [];
      const said = lastBefore(face.timeline, (one) => one.time, time + margin / 2);
      return [{
        track: face.track,
        box: face.boxes[place].slice(1),
        found: time <= face.last_s + margin,
        buffered: Math.floor((face.boxes[place][0] - face.boxes[0][0]) * MODEL_FPS + 0.5) + 1,
        prediction: said < 0 ? null : face.timeline[said],
        overall: face,
      }];
    });
  }

  timeline(track) {
    return this.answer.faces.find((face) => face.track === track)?.timeline ?? [];
  }

  get tracks() {
    return this.answer.faces.map((face) => face.track);
  }

  /** The face that was seen longest. */
  get mainTrack() {
    const longest = (face) => face.last_s - face.first_s;
    return [...this.answer.faces].sort((one, other) => longest(other) - longest(one))[0]?.track ?? null;
  }
}

/** Index of the last item, of some sorted by time, that is not later than a time; -1 for none. */
function lastBefore(items, timeOf, time) {
  let [low, high] = [0, items.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(items[middle]) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

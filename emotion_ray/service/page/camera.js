// A camera's pictures to the service, over a websocket, and what it says of them back.

import { Problem, askForKey, key, streamAddress } from "./api.js";

const LONGER_SIDE = 640; // px of the pictures that are sent
const QUALITY = 0.9; // of JPEG
const MOST_UNDER_WAY = 3; // pictures without an answer; further ones are left out
const POLICY_VIOLATION = 1008;

export class CameraSession {
  /**
   * @param {HTMLVideoElement} video which shows the camera
   * @param {string} model by name
   * @param {{ready: Function, frame: Function, ended: (problem: Problem | null) => void}} listener
   */
  constructor(video, model, listener) {
    Object.assign(this, { video, model, listener });
    this.sent = this.answered = this.dropped = 0;
    this.canvas = document.createElement("canvas");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.over = this.encoding = false;
  }

  /** Asks for the camera, then connects. Whether it faces its user is known after that. */
  async start() {
    if (!navigator.mediaDevices) throw new Problem("The browser gives cameras to pages of this machine or over https only.");
    try {
      const wanted = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: "user" };
      this.stream = await navigator.mediaDevices.getUserMedia({ video: wanted, audio: false });
    } catch (error) {
      const said = { NotAllowedError: "The camera was not allowed.", NotFoundError: "There is no camera." };
      throw new Problem(said[error.name] ?? `The camera can't be used: ${error.message}`);
    }
    if (this.over) return this.#release();
    const [track] = this.stream.getVideoTracks();
    this.mirrored = track.getSettings().facingMode !== "environment";
    track.addEventListener("ended", () => this.stop());
    this.video.srcObject = this.stream;
    await this.video.play();
    this.#connect();
  }

  stop(problem = null) {
    if (this.over) return;
    this.over = true;
    this.socket?.close();
    this.#release();
    this.listener.ended(problem);
  }

  #release() {
    this.stream?.getTracks().forEach((track) => track.stop());
    if (this.video.srcObject === this.stream) this.video.srcObject = null; // else it is a later session's
  }

  #connect() {
    const socket = (this.socket = new WebSocket(streamAddress()));
    socket.addEventListener("open", () => socket.send(JSON.stringify({ key: key(), model: this.model })));
    socket.addEventListener("message", (event) => this.#take(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => {
      if (event.code === POLICY_VIOLATION && this.refusedKey) {
        askForKey().then(() => this.over || this.#connect(), (problem) => this.stop(problem));
      } else this.stop(this.problem ?? new Problem("The connection has ended. Start the camera again to go on."));
    });
  }

  #take(message) {
    if (message.type === "problem") {
      this.refusedKey = message.reason === "wrong_key";
      this.problem = this.refusedKey ? null : new Problem(message.detail);
    } else if (message.type === "ready") {
      this.listener.ready(message);
      this.began = performance.now();
      this.#nextPicture();
    } else if (message.type === "frame") {
      this.answered += 1;
      this.dropped = message.dropped;
      this.listener.frame(message);
    }
  }

  #nextPicture() {
    if (this.over) return;
    const then = () => {
      this.#send();
      this.#nextPicture();
    };
    if (this.video.requestVideoFrameCallback) this.video.requestVideoFrameCallback(then);
    else setTimeout(then, 33);
  }

  /** Sends the picture that is shown now, unless the service has enough to do. */
  #send() {
    const underWay = this.sent - this.answered - this.dropped;
    if (this.over || this.encoding || underWay >= MOST_UNDER_WAY || this.socket.readyState !== WebSocket.OPEN) return;
    const { videoWidth, videoHeight } = this.video;
    if (!videoWidth) return;
    const scale = Math.min(1, LONGER_SIDE / Math.max(videoWidth, videoHeight));
    const [width, height] = [Math.round(videoWidth * scale), Math.round(videoHeight * scale)];
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(this.video, 0, 0, width, height);
    const time = (performance.now() - this.began) / 1000;
    this.encoding = true;
    this.canvas.toBlob(async (picture) => {
      const header = new DataView(new ArrayBuffer(12));
      header.setFloat64(0, time, true);
      header.setUint32(8, this.answered, true);
      const message = picture && (await new Blob([header, picture]).arrayBuffer());
      this.encoding = false;
      if (!message || this.over || this.socket.readyState !== WebSocket.OPEN) return;
      this.sent += 1;
      this.socket.send(message);
    }, "image/jpeg", QUALITY);
  }
}

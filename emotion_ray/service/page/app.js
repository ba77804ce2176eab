// The page: wires the picture, the faces and the chart to a video file or to the camera.

import { Problem, fetchModels, predict } from "./api.js";
import { AttentionStrip } from "./attention.js";
import { CameraSession } from "./camera.js";
import { Chart } from "./chart.js";
import { byId, element } from "./elements.js";
import { FacePanel } from "./faces.js";
import { Overlay } from "./overlay.js";
import { Recording } from "./recording.js";
import { followTheme } from "./theme.js";

const LIVE_SECONDS = 30; // of the chart
const video = byId("video");
const overlay = new Overlay(byId("overlay"));
const panel = new FacePanel();
const strip = new AttentionStrip();
const chart = new Chart((time) => {
  if (recording && video.duration) video.currentTime = Math.min(time, video.duration);
});

let models = new Map();
let source = "file"; // or "camera"
let file = null;
let recording = null;
let camera = null;
let live = null; // {model, timelines by track, newest time, times of the last two seconds}
let chosenTrack = null;
let work = null; // the AbortController of the request under way
let boxesInPicture = false;

/** Shows what is there, and what can be done, in one of the page's states. */
function show({ status = "", progress = null, empty = false, stop = false } = {}) {
  const stage = byId("stage");
  stage.classList.toggle("empty", empty);
  byId("drop").hidden = !(empty && source === "file");
  byId("camera-start").hidden = !(empty && source === "camera");
  video.hidden = byId("overlay").hidden = empty;
  byId("status").textContent = status;
  byId("bar").hidden = empty && !status;
  const bar = byId("progress");
  bar.hidden = progress === null;
  if (progress === "busy") bar.removeAttribute("value");
  else if (progress !== null) bar.value = progress;
  byId("stop").hidden = !stop;
  byId("another").hidden = empty || stop || source !== "file";
  byId("annotated").hidden = !recording || stop || boxesInPicture;
}

function tell(error) {
  const box = byId("problem");
  box.hidden = !error;
  box.textContent = error ? (error instanceof Problem ? error.message : `Something went wrong: ${error.message}`) : "";
}

function reset() {
  work?.abort();
  camera?.stop();
  work = camera = recording = live = chosenTrack = file = null;
  boxesInPicture = false;
  if (video.src) URL.revokeObjectURL(video.src);
  video.removeAttribute("src");
  video.classList.remove("mirrored");
  video.load();
  overlay.clear();
  panel.clear();
  chart.setCursor(null);
  describeModel();
  strip.show();
  showTracks([]);
  tell(null);
  show({ empty: true });
}

function choose(which) {
  source = which;
  byId("choose-file").setAttribute("aria-pressed", String(which === "file"));
  byId("choose-camera").setAttribute("aria-pressed", String(which === "camera"));
  reset();
}

function showTracks(tracks) {
  const group = byId("tracks");
  group.hidden = tracks.length < 2;
  group.replaceChildren(...tracks.map((track) => {
    const button = element("button", { type: "button", "aria-pressed": String(track === chosenTrack) }, `Face ${track}`);
    button.addEventListener("click", () => {
      chosenTrack = track;
      showTracks(tracks);
      showTimeline();
    });
    return button;
  }));
}

function showTimeline() {
  if (recording) chart.show(recording.timeline(chosenTrack), recording.model.labels, [0, recording.length]);
  else if (live) {
    const points = live.timelines.get(chosenTrack) ?? [];
    chart.show(points, live.model.labels, [Math.max(0, live.newest - LIVE_SECONDS), Math.max(live.newest, 3)]);
  }
}

async function analyse(chosen) {
  reset();
  file = chosen;
  video.src = URL.createObjectURL(file);
  video.controls = true;
  const mine = (work = new AbortController());
  show({ status: "Sending…", progress: 0, stop: true });
  try {
    const answer = await predict(file, { model: byId("model").value }, (part) => {
      if (part < 1) show({ status: `Sending… ${Math.round(100 * part)} %`, progress: part, stop: true });
      else show({ status: "Looking at every frame…", progress: "busy", stop: true });
    }, mine.signal);
    if (mine.signal.aborted) return;
    work = null;
    recording = new Recording(answer);
    chosenTrack = recording.mainTrack;
    showTracks(recording.tracks);
    showTimeline();
    show({ status: summary(answer) });
    if (video.error) tellUnplayable();
    else play();
  } catch (error) {
    if (mine.signal.aborted) return; // somebody stopped it, and sees something else by now
    work = null;
    show({ status: "" });
    tell(error);
  }
}

function summary(answer) {
  const faces = answer.faces.length === 1 ? "1 face" : `${answer.faces.length} faces`;
  const rate = Math.round(answer.frames / Math.max(answer.timings.work_s, 0.001));
  const words = [`${faces}, ${answer.frames} frames in ${answer.timings.work_s.toFixed(1)} s (${rate} a second)`];
  return words.concat(answer.warnings).join(". ");
}

/** Of a file that the service reads and the browser does not: its faces are shown without the picture. */
function tellUnplayable() {
  showMoment();
  tell(new Problem("The browser can't play this format. It can play what “Annotated video” makes of it."));
}

function play() {
  video.play().catch(() => showMoment()); // not before somebody touches the page, in some browsers
  showMoment();
}

/** Shows the faces as they are at the video's present moment. */
function showMoment() {
  if (!recording) return;
  const time = video.currentTime;
  const faces = recording.at(time);
  const size = [video.videoWidth, video.videoHeight];
  if (boxesInPicture) overlay.clear();
  else overlay.draw(faces, size, recording.model);
  panel.show(faces, recording.model);
  chart.setCursor(time);
  strip.show((faces.find((face) => face.track === chosenTrack) ?? faces[0])?.prediction?.attention);
}

async function showAnnotated() {
  const mine = (work = new AbortController());
  show({ status: "Drawing on every frame…", progress: "busy", stop: true });
  try {
    const drawn = await predict(file, { model: recording.model.name, annotate: true }, () => {}, mine.signal);
    if (mine.signal.aborted) return;
    work = null;
    boxesInPicture = true;
    URL.revokeObjectURL(video.src);
    video.src = URL.createObjectURL(drawn);
    tell(null);
    const link = element("a", { href: video.src, download: `${file.name.replace(/\.\w+$/, "")}-annotated.mp4` }, "Save the annotated video");
    show({ status: "" });
    byId("status").replaceChildren(link);
    play();
  } catch (error) {
    if (mine.signal.aborted) return;
    work = null;
    show({ status: "" });
    tell(error);
  }
}

async function startCamera() {
  reset();
  show({ status: "Waiting for the camera…", stop: true });
  video.controls = false;
  const session = new CameraSession(video, byId("model").value, {
    ready: (model) => {
      live = { model, timelines: new Map(), newest: 0, times: [] };
      video.classList.toggle("mirrored", session.mirrored);
    },
    frame: showLive,
    ended: (problem) => {
      if (camera !== session) return;
      camera = null;
      overlay.clear();
      show({ empty: true });
      tell(problem);
    },
  });
  camera = session;
  try {
    await session.start();
  } catch (error) {
    session.stop(error);
  }
}

function showLive(message) {
  live.newest = message.time;
  live.times = live.times.filter((time) => time > message.time - 2).concat(message.time);
  let news = false;
  for (const { track, prediction } of message.faces) {
    const points = live.timelines.get(track) ?? [];
    if (!prediction || points.at(-1)?.time === prediction.time) continue;
    live.timelines.set(track, points.filter((point) => point.time > message.time - LIVE_SECONDS).concat(prediction));
    news = true;
  }
  const tracks = message.faces.map((face) => face.track);
  if (!tracks.includes(chosenTrack)) chosenTrack = tracks[0] ?? chosenTrack;
  overlay.draw(message.faces, message.size, live.model, camera.mirrored);
  panel.show(message.faces, live.model);
  if (news) {
    showTracks(tracks);
    showTimeline();
    strip.show(message.faces.find((face) => face.track === chosenTrack)?.prediction?.attention);
  }
  const rate = live.times.length > 1 ? (live.times.length - 1) / Math.max(message.time - live.times[0], 0.1) : 0;
  const dropped = message.dropped ? `, ${message.dropped} dropped` : "";
  show({ status: `Live, ${Math.round(rate)} frames a second${dropped}`, stop: true });
}

function describeModel() {
  const model = models.get(byId("model").value);
  if (model && !recording && !live) chart.show([], model.labels, [0, 1]);
  const note = byId("model-note");
  note.hidden = !model?.synthetic;
  note.textContent = "This model learnt from the synthetic sample, a warped portrait: on real faces it only shows that everything works.";
}

async function loadModels() {
  try {
    const found = await fetchModels();
    models = new Map(found.models.map((model) => [model.name, model]));
    byId("model").replaceChildren(...found.models.map((model) => {
      const figure = model.uar === null ? "" : `, UAR ${Math.round(100 * model.uar)} %`;
      return element("option", { value: model.name }, `${model.name} (${model.architecture}${figure})`);
    }));
    if (found.default) byId("model").value = found.default;
    if (!models.size) tell(new Problem("There is no model yet: `emotion-ray train` makes one; then load this page again."));
    describeModel();
  } catch (error) {
    tell(error);
  }
}

function listen() {
  const stage = byId("stage");
  byId("choose-file").addEventListener("click", () => choose("file"));
  byId("choose-camera").addEventListener("click", () => choose("camera"));
  byId("pick").addEventListener("click", () => byId("file").click());
  byId("another").addEventListener("click", () => byId("file").click());
  byId("file").addEventListener("change", (event) => {
    const [chosen] = event.target.files;
    event.target.value = "";
    if (chosen) analyse(chosen);
  });
  byId("start").addEventListener("click", startCamera);
  byId("stop").addEventListener("click", () => (camera ? camera.stop() : reset()));
  byId("annotated").addEventListener("click", showAnnotated);
  byId("model").addEventListener("change", () => {
    describeModel();
    if (camera) startCamera();
    else if (file) analyse(file);
  });
  stage.addEventListener("dragover", (event) => {
    event.preventDefault();
    stage.classList.add("over");
  });
  stage.addEventListener("dragleave", () => stage.classList.remove("over"));
  stage.addEventListener("drop", (event) => {
    event.preventDefault();
    stage.classList.remove("over");
    const [dropped] = event.dataTransfer.files;
    if (dropped && source === "camera") choose("file");
    if (dropped) analyse(dropped);
  });
  for (const happening of ["timeupdate", "seeked", "loadeddata", "pause"]) video.addEventListener(happening, showMoment);
  video.addEventListener("error", () => {
    if (video.getAttribute("src") && recording) tellUnplayable();
  });
  if (video.requestVideoFrameCallback) {
    const shown = () => {
      showMoment();
      video.requestVideoFrameCallback(shown);
    };
    video.requestVideoFrameCallback(shown);
  }
  addEventListener("resize", showMoment);
}

followTheme(byId("theme"));
listen();
reset();
loadModels();

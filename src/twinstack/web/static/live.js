// Keeps the values on a page fresh and says whether it does. The page is complete without this script.
import { openSource } from "/static/live-source.js";

const CHIP_DELAY_MS = 1000; // a short gap is no news
const chip = document.getElementById("chip");
const pause = document.getElementById("pause");
const fresh = document.getElementById("new");
const unseen = new Set();
let state = "connecting";
let heardAt = new Date();
let warning = null;
let paused = false;

function show() {
  const stale = state === "reconnecting";
  const clock = heardAt.toLocaleTimeString();
  chip.dataset.state = paused ? "paused" : state;
  chip.textContent = paused
    ? `Paused, values as of ${clock}`
    : { live: "Live", connecting: "Connecting", reconnecting: `Reconnecting, values as of ${clock}` }[state];
  document.body.classList.toggle("stale", stale || paused);
}

function setState(next) {
  clearTimeout(warning);
  warning = null;
  if (next === "live") {
    state = "live";
    heardAt = new Date();
    show();
  } else if (state !== "reconnecting") {
    heardAt = state === "live" ? new Date() : heardAt;
    warning = setTimeout(() => {
      state = "reconnecting";
      show();
    }, CHIP_DELAY_MS);
  }
}

function age(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  return s < 86400 ? `${Math.floor(s / 3600)} h ago` : `${Math.floor(s / 86400)} d ago`;
}

function number(value) {
  if (typeof value !== "number") return value === null ? "null" : String(value);
  return String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
}

function text(element, value) {
  if (element && element.textContent !== value) element.textContent = value;
}

function onValues({ values }) {
  for (const value of values) {
    const row = document.querySelector(`[data-key="${CSS.escape(value.key)}"]`);
    if (row === null) {
      unseen.add(value.key);
      continue;
    }
    text(row.querySelector(".value"), number(value.result));
    const time = row.querySelector("time");
    time.dateTime = value.time;
    time.title = value.time;
    time.dataset.atMs = value.at_ms;
    text(time, age(Date.now() - value.at_ms));
  }
  if (unseen.size > 0) {
    fresh.hidden = false;
    fresh.querySelector("a").textContent = `${unseen.size} new Datastream${unseen.size > 1 ? "s" : ""}: show`;
  }
}

function onState({ rates, apps }) {
  for (const [topic, rate] of Object.entries(rates)) {
    text(document.querySelector(`[data-rate="${CSS.escape(topic)}"]`), rate.toFixed(rate < 10 ? 2 : 0));
  }
  for (const app of apps) {
    const row = document.querySelector(`[data-app="${CSS.escape(app.uid)}"]`);
    if (row === null) continue;
    const word = row.querySelector(".state");
    word.className = `state state-${app.state}`;
    text(word, app.state);
    text(row.querySelector(".reason"), app.reason || "");
    text(row.querySelector(".rate"), app.rate_per_s.toFixed(2));
  }
}

function onMessage(message) {
  if (message.state) setState(message.state);
  else {
    if (state !== "live") setState("live");
    heardAt = paused ? heardAt : new Date();
    if (paused) return;
    (message.event === "values" ? onValues : onState)(message.data);
  }
}

// --- one stream for all tabs: a SharedWorker, else the tab that holds a lock, else this tab alone
function viaWorker() {
  const worker = new SharedWorker("/static/live-worker.js", { type: "module", name: "twinstack-live" });
  worker.port.onmessage = ({ data }) => onMessage(data);
  worker.port.start();
  const tell = () => worker.port.postMessage(document.hidden ? "hidden" : "visible");
  document.addEventListener("visibilitychange", tell);
  addEventListener("pagehide", () => worker.port.postMessage("closed"));
  addEventListener("pageshow", tell);
}

function viaLeader() {
  const channel = new BroadcastChannel("twinstack-live");
  channel.onmessage = ({ data }) => onMessage(data);
  navigator.locks.request("twinstack-live", () => {
    openSource((message) => {
      onMessage(message);
      channel.postMessage(message);
    });
    return new Promise(() => {}); // leads until the tab is closed
  });
}

pause.hidden = false;
pause.addEventListener("click", () => {
  paused = !paused;
  pause.textContent = paused ? "Resume" : "Pause";
  pause.setAttribute("aria-pressed", String(paused));
  if (!paused) location.reload();
  else show();
});
setInterval(() => {
  if (paused) return;
  for (const time of document.querySelectorAll("time[data-at-ms]")) {
    text(time, age(Date.now() - Number(time.dataset.atMs)));
  }
}, 1000);
show();
if ("SharedWorker" in window) viaWorker();
else if ("locks" in navigator && "BroadcastChannel" in window) viaLeader();
else openSource(onMessage);

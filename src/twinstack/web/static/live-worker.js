// Holds the event stream for all tabs: HTTP/1.1 browsers allow six connections to a server over all tabs.
import { openSource } from "/static/live-source.js";

const ports = new Map(); // port -> does its tab show?
let source = null;

function post(message) {
  for (const [port, visible] of ports) if (visible) port.postMessage(message);
}

function update() {
  const wanted = [...ports.values()].some(Boolean);
  if (wanted && source === null) source = openSource(post);
  if (!wanted && source !== null) {
    source.close();
    source = null;
  }
}

self.onconnect = ({ ports: [port] }) => {
  ports.set(port, true);
  port.onmessage = ({ data }) => {
    if (data === "closed") ports.delete(port);
    else {
      ports.set(port, data === "visible");
      // A tab that comes (back) late needs everything, not only what changes from now on.
      if (data === "visible" && source !== null) {
        source.close();
        source = null;
      }
    }
    update();
  };
  port.start();
};

// The one event stream of a browser: a SharedWorker runs this, or the page that leads the others.
// `post(message)` tells {state: "live" | "reconnecting"} and {event, data}; close() ends it.
const EVENTS = ["values", "state"];
const RETRY_MS = 1000;

export function openSource(post) {
  let source = null;
  let timer = null;
  let last = "";

  function open() {
    // EventSource sends Last-Event-ID by itself only when it reconnects by itself.
    source = new EventSource(last ? `/live?since=${encodeURIComponent(last)}` : "/live");
    source.onopen = () => post({ state: "live" });
    source.onerror = () => {
      post({ state: "reconnecting" });
      // After an answer that is no event stream (a server that starts) a browser gives up: we do not.
      source.close();
      clearTimeout(timer);
      timer = setTimeout(open, RETRY_MS);
    };
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        last = event.lastEventId || last;
        post({ event: name, data: JSON.parse(event.data) });
      });
    }
  }

  open();
  return {
    close() {
      clearTimeout(timer);
      source.close();
    },
  };
}

// Asks the server now and then whether it is there. After it was away the page is loaded again: its choices are in the
// address, and a server that was started again knows nothing of the old session.
const PERIOD = 4000;
const FAILURES = 2;
// Streamlit's front end can lose a fragment that refreshes itself ("Cannot set a node at a delta path", streamlit
// #16708) and then leaves a white page. Such a page is loaded again too, but never in a circle.
const EMPTY_AFTER = 300;
const BETWEEN_RELOADS = 10000;
const RELOADED_AT = "ptviz-reloaded-at";

const reloadIfEmpty = () => {
  const root = document.getElementById("root");
  const since = Date.now() - Number(sessionStorage.getItem(RELOADED_AT) ?? 0);
  if (root?.childElementCount === 0 && since > BETWEEN_RELOADS) {
    sessionStorage.setItem(RELOADED_AT, String(Date.now()));
    window.location.reload();
  }
};

export default function (component) {
  const { data, parentElement } = component;
  const box = parentElement.querySelector(".ptviz-away");
  // Called again whenever the page is drawn again: one watch for each box.
  clearInterval(box.timer);
  box.failed ??= 0;

  const show = () => {
    const command = document.createElement("code");
    command.textContent = data.command;
    box.replaceChildren("ptviz is not running; start it with ", command, ". This page continues by itself then.");
    box.hidden = false;
  };

  const look = async () => {
    let there = false;
    try {
      there = (await fetch(data.health, { cache: "no-store" })).ok;
    } catch {
      there = false;
    }
    if (there && box.failed >= FAILURES) {
      window.location.reload();
    }
    box.failed = there ? 0 : box.failed + 1;
    if (box.failed >= FAILURES) {
      show();
    }
  };

  // The component goes with the page that broke, so the window listens; once, however often the page is drawn.
  window.ptvizReloads ??= window.addEventListener("error", () => setTimeout(reloadIfEmpty, EMPTY_AFTER)) ?? true;
  box.timer = setInterval(look, PERIOD);
  return () => clearInterval(box.timer);
}

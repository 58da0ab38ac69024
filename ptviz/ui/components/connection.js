// Asks the server now and then whether it is there. After it was away the page is loaded again: its choices are in the
// address, and a server that was started again knows nothing of the old session.
const PERIOD = 4000;
const FAILURES = 2;

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

  box.timer = setInterval(look, PERIOD);
  return () => clearInterval(box.timer);
}

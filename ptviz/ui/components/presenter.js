// Presenter mode: one figure of the page fills the window, with larger text and a bar that says which keys do what.
// The address names the figure, so that a link opens it: ?present=FIGURE.

const PARAMETER = "present";
const PREFIX = "st-key-figure-";
const SCALE = 1.6;
const WIDE = 800; // CSS pixels from which larger text leaves room for the figure
const LABELS = {
  previous: "Previous figure (left arrow key)", next: "Next figure (right arrow key)",
  earlier: "Earlier step (down arrow key)", later: "Later step (up arrow key)",
};

let presenter = null; // one per tab: Streamlit mounts the button again on every page

const nameOf = (frame) => [...frame.classList].find((name) => name.startsWith(PREFIX));
const frames = () => [...document.querySelectorAll(`[class*="${PREFIX}"]`)].filter(
  (frame) => frame.getClientRects().length && frame.closest("[data-testid=stMain]"),
);
const hasSteps = () => document.querySelector(".st-key-scrubber") !== null;
const parameter = (name) => new URLSearchParams(location.search).get(name);

function setAddress(figure) {
  const address = new URL(location.href);
  if (figure) address.searchParams.set(PARAMETER, figure); else address.searchParams.delete(PARAMETER);
  history.replaceState(history.state, "", address);
}

function make(tag, attributes, ...children) {
  const node = Object.assign(document.createElement(tag), attributes);
  node.append(...children);
  return node;
}

class Presenter {
  constructor() {
    this.on = false;
    this.style = make("style", {});
    this.bar = make("div", { className: "ptviz-present-bar", role: "region", ariaLabel: "Presenter mode" });
    this.observer = new MutationObserver(() => {
      cancelAnimationFrame(this.due);
      this.due = requestAnimationFrame(() => this.show());
    });
    // Before Streamlit's own keys: an arrow must not move a slider as well.
    window.addEventListener("keydown", (event) => this.key(event), true);
  }

  key(event) {
    const inField = event.composedPath()[0].closest?.("input, textarea, select, [contenteditable=true]");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const action = this.on
      ? {
          ArrowRight: () => this.move(1), ArrowLeft: () => this.move(-1), ArrowUp: () => this.step(1),
          ArrowDown: () => this.step(-1), q: () => this.toggleCode(), p: () => this.leave(), Escape: () => this.leave(),
        }[event.key]
      : event.key === "p" && !inField && (() => this.enter());
    if (!action) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    action();
  }

  enter() {
    this.on = true;
    this.back = document.activeElement;
    this.name = PREFIX + (parameter(PARAMETER) || "");
    document.head.append(this.style);
    document.body.append(this.bar);
    this.observer.observe(document.body, { childList: true, subtree: true });
    this.show();
    this.bar.querySelector("button")?.focus();
  }

  leave() {
    this.on = false;
    this.observer.disconnect();
    this.style.remove();
    this.bar.remove();
    this.shown = "";
    window.ptvizStage = null;
    setAddress("");
    window.dispatchEvent(new Event("ptviz-stage"));
    this.back?.focus?.();
  }

  move(by) {
    const all = frames();
    const at = all.findIndex((frame) => frame.classList.contains(this.name));
    const next = all[Math.min(Math.max(at + by, 0), all.length - 1)];
    if (!next) return;
    this.name = nameOf(next);
    setAddress(this.name.slice(PREFIX.length));
    this.show();
  }

  step(by) {
    if (hasSteps()) this.sendStep(by);
  }

  toggleCode() {
    this.large = !this.large;
    this.show();
  }

  // Draw the current state. It is called again for every change of the page and must change nothing the second time.
  show() {
    if (!this.on) return;
    const all = frames();
    const at = Math.max(all.findIndex((frame) => frame.classList.contains(this.name)), 0);
    const frame = all[at];
    const wide = window.innerWidth >= WIDE;
    const state = JSON.stringify([frame && nameOf(frame), at, all.length, hasSteps(), location.href, this.large, wide]);
    if (state === this.shown) return;
    this.shown = state;
    if (frame) {
      this.stage(nameOf(frame), wide);
      if (!parameter(PARAMETER)) setAddress(nameOf(frame).slice(PREFIX.length));
      if (this.name === PREFIX) this.name = nameOf(frame);
    } else this.style.textContent = "";
    this.fill(frame, at, all.length);
    window.dispatchEvent(new Event("ptviz-stage"));
  }

  stage(name, wide) {
    this.style.textContent = `
      html { font-size: ${wide ? 100 * SCALE : 100}% !important; }
      [data-testid=stApp] { visibility: hidden; }
      .${CSS.escape(name)} {
        visibility: visible; position: fixed !important; inset: 0 0 3.2rem 0; z-index: 1000; box-sizing: border-box;
        width: auto !important; max-width: none !important; padding: 0.8rem 1.2rem; background: var(--ptviz-background); overflow: auto;
        --ptviz-tools: none; /* a drawing lies in a shadow root, which other rules do not reach */
      }
      .${CSS.escape(name)} [class*=st-key-tools-] { display: none !important; }
    `;
    window.ptvizStage = { name, scale: wide ? SCALE : 1 };
  }

  fill(frame, at, count) {
    const focused = this.bar.contains(document.activeElement) ? document.activeElement.dataset.does : "";
    const button = (does, text, run) => {
      const node = make("button", { type: "button", textContent: text, onclick: run });
      node.dataset.does = does;
      if (LABELS[does]) node.ariaLabel = node.title = LABELS[does];
      return node;
    };
    const parts = [];
    if (frame) {
      parts.push(make("span", {}, button("previous", "←", () => this.move(-1)), ` Figure ${at + 1} of ${count} `,
        button("next", "→", () => this.move(1))));
      if (hasSteps()) {
        parts.push(make("span", {}, button("earlier", "↓", () => this.step(-1)), ` Step ${parameter("at") || "best"} `,
          button("later", "↑", () => this.step(1))));
      }
    } else parts.push(make("span", { textContent: "This page has no figure yet." }));
    parts.push(button("code", "Q: code of this address", () => this.toggleCode()));
    parts.push(button("leave", "Esc: leave", () => this.leave()));
    const local = /^(localhost|127\.|\[::1\])/.test(location.hostname);
    const code = make("figure", { className: this.large ? "large" : "" }, make("img", {
      src: `${this.codes}?text=${encodeURIComponent(location.href)}`, alt: "QR code of the address of this figure",
    }));
    if (this.large) {
      code.append(make("figcaption", {
        textContent: local ? "This address opens on this computer only. ptviz app --host lets other machines connect." : location.href,
      }));
    }
    this.bar.replaceChildren(...parts, code);
    if (focused) this.bar.querySelector(`[data-does=${focused}]`)?.focus();
  }
}

export default function ({ data, parentElement, setTriggerValue }) {
  presenter ??= new Presenter();
  presenter.sendStep = (by) => setTriggerValue("step", by);
  presenter.codes = data.codes;
  parentElement.querySelector("button").onclick = () => presenter.enter();
  const style = getComputedStyle(parentElement);
  for (const name of ["background", "text", "border", "primary"]) { // for what lies outside Streamlit's components
    document.documentElement.style.setProperty(`--ptviz-${name}`, style.getPropertyValue(`--st-${name}-color`));
  }
  if (parameter(PARAMETER) !== null && !presenter.on) presenter.enter();
  presenter.show();
}

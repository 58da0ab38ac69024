// A drawing as inline SVG: it takes the page's font and text colour, and what can be opened answers click and keyboard.

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const node = parentElement.querySelector(".ptviz-drawing");
  const button = parentElement.querySelector(".ptviz-drawing-save");
  const draw = () => {
    const svg = data.narrow && node.clientWidth && node.clientWidth < data.least ? data.narrow : data.svg;
    if (node.drawn === svg) return;
    node.innerHTML = svg; // made by ptviz.figures.svg, which escapes every word
    node.drawn = svg;
  };
  draw();
  if (node.watch) node.watch.disconnect();
  node.watch = new ResizeObserver(draw);
  node.watch.observe(node);
  // What can be opened may lie behind what is drawn on it: a whole panel behind its blocks.
  const behind = (event) => node.getRootNode().elementsFromPoint(event.clientX, event.clientY);
  const found = (event) => {
    const own = event.target.closest("[data-open]");
    if (own || event.type === "keydown") return own;
    return behind(event).map((each) => each.closest("[data-open]")).find((each) => each && node.contains(each));
  };
  const open = (event) => {
    if (event.type === "keydown" && event.key !== "Enter" && event.key !== " ") return;
    const target = found(event);
    if (!target) return;
    event.preventDefault();
    setTriggerValue("open", target.dataset.open);
  };
  node.onclick = open;
  node.onkeydown = open;
  const point = (target) => {
    node.querySelectorAll(".pointed").forEach((each) => each.classList.remove("pointed"));
    target?.classList.add("pointed");
    node.style.cursor = target ? "pointer" : "";
  };
  node.onpointermove = (event) => point(found(event));
  node.onpointerleave = () => point(null);
  button.hidden = !data.name;
  button.onclick = () => {
    const address = URL.createObjectURL(new Blob([data.file], { type: "image/svg+xml" }));
    const link = Object.assign(document.createElement("a"), { href: address, download: data.name + ".svg" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };
}

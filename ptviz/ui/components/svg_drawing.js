// A drawing as inline SVG: it takes the page's font and text colour, and what can be opened answers click and keyboard.

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const node = parentElement.querySelector(".ptviz-drawing");
  const draw = () => {
    const stage = stageOf(node);
    const fits = (form) => !node.clientWidth || node.clientWidth >= form.least;
    const form = stage ? data.forms[0] : data.forms.find(fits) || data.forms.at(-1);
    if (node.drawn !== form.svg) {
      node.innerHTML = form.svg; // made by ptviz.figures.svg, which escapes every word
      node.drawn = form.svg;
    }
    const drawing = node.firstElementChild;
    if (!drawing) return;
    // Smaller than this its words cannot be read: the drawing is moved sideways instead.
    const scrolls = !stage && !fits(form);
    drawing.style.minWidth = scrolls ? form.least + "px" : "";
    if (scrolls) node.tabIndex = 0; else node.removeAttribute("tabindex");
    node.classList.toggle("staged", Boolean(stage));
    drawing.style.height = stage ? stage.height + "px" : "auto";
  };
  draw();
  if (node.watch) node.watch.disconnect();
  node.watch = new ResizeObserver(draw);
  node.watch.observe(node);
  if (!node.staged) {
    node.staged = () => node.redraw();
    window.addEventListener("ptviz-stage", node.staged);
    window.addEventListener("fullscreenchange", node.staged);
  }
  node.redraw = draw;
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
  const file = new Blob([data.file], { type: "image/svg+xml" });
  connectTools(parentElement, data, {
    svg: () => saveBlob(file, data.name + ".svg"),
    png: () => savePng(file, data.name + ".png"),
  });
  return () => {
    node.watch.disconnect();
    window.removeEventListener("ptviz-stage", node.staged);
    window.removeEventListener("fullscreenchange", node.staged);
  };
}

function savePng(file, name) {
  const picture = new Image();
  picture.onload = () => {
    const canvas = Object.assign(document.createElement("canvas"), { width: 2 * picture.width, height: 2 * picture.height });
    canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
    canvas.toBlob((blob) => saveBlob(blob, name));
    URL.revokeObjectURL(picture.src);
  };
  picture.src = URL.createObjectURL(file);
}

// A drawing as inline SVG: it takes the page's font and text colour, and what can be opened answers click and keyboard.

export default function (component) {
  const { data, parentElement, setTriggerValue } = component;
  const node = parentElement.querySelector(".ptviz-drawing");
  const button = parentElement.querySelector(".ptviz-drawing-save");
  if (node.dataset.drawn !== data.svg) {
    node.innerHTML = data.svg; // made by ptviz.figures.svg, which escapes every word
    node.dataset.drawn = data.svg;
  }
  const open = (event) => {
    const target = event.target.closest("[data-open]");
    if (!target || (event.type === "keydown" && event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    setTriggerValue("open", target.dataset.open);
  };
  node.onclick = open;
  node.onkeydown = open;
  button.hidden = !data.name;
  button.onclick = () => {
    const address = URL.createObjectURL(new Blob([data.file], { type: "image/svg+xml" }));
    const link = Object.assign(document.createElement("a"), { href: address, download: data.name + ".svg" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(address), 1000);
  };
}

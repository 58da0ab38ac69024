// An equation whose symbols say what they are: under the pointer, and when the keyboard reaches them.

export default function (component) {
  const { data, parentElement } = component;
  const node = parentElement.querySelector(".ptviz-equation");
  const words = parentElement.querySelector(".ptviz-told");
  if (node.dataset.drawn !== data.mathml) {
    node.innerHTML = data.mathml; // made by ptviz.figures.diagrams.equation, which escapes every word
    node.dataset.drawn = data.mathml;
    words.textContent = data.hint;
  }
  let shown = null;
  const tell = (event) => {
    const term = event.target.closest(".term");
    if (!term || term === shown) return;
    if (shown) shown.classList.remove("shown");
    shown = term;
    term.classList.add("shown");
    words.textContent = term.dataset ? term.dataset.told : term.getAttribute("data-told");
  };
  node.onpointerover = tell;
  node.onfocusin = tell;
  node.addEventListener("focusin", tell);
  node.onclick = tell;
}

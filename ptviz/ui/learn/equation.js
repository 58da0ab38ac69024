// An equation whose symbols show their meaning when they are pointed at or focused.

export default function (component) {
  const { data, parentElement } = component;
  const node = parentElement.querySelector(".ptviz-equation");
  const words = parentElement.querySelector(".ptviz-symbol-meaning");
  if (node.dataset.drawn !== data.mathml) {
    node.innerHTML = data.mathml; // made by ptviz.figures.diagrams.equation, which escapes every word
    node.dataset.drawn = data.mathml;
    words.textContent = data.hint;
  }
  let shown = null;
  const showMeaning = (event) => {
    const term = event.target.closest(".term");
    if (!term || term === shown) return;
    if (shown) shown.classList.remove("shown");
    shown = term;
    term.classList.add("shown");
    words.textContent = term.dataset ? term.dataset.meaning : term.getAttribute("data-meaning");
  };
  node.onpointerover = showMeaning;
  node.onfocusin = showMeaning;
  node.addEventListener("focusin", showMeaning);
  node.onclick = showMeaning;
}

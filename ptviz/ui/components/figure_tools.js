// The tools above a figure: files of what is drawn, and full screen. Shared by the components that draw figures.

// The frame of a figure, from inside it, also from inside a component's shadow root.
function frameOf(node) {
  const host = node.getRootNode().host;
  return (host || node).closest('[class*="st-key-figure-"]');
}

// How a figure is shown: null on the page, else {scale of the text, width and height in pixels that the drawing may take}.
function stageOf(node) {
  const frame = frameOf(node);
  if (!frame) return null;
  const stage = window.ptvizStage;
  const presented = stage && frame.classList.contains(stage.name);
  if (!presented && document.fullscreenElement !== frame) return null;
  const box = getComputedStyle(frame);
  const width = frame.clientWidth - parseFloat(box.paddingLeft) - parseFloat(box.paddingRight);
  const inside = frame.clientHeight - parseFloat(box.paddingTop) - parseFloat(box.paddingBottom);
  const used = [...frame.children].filter((child) => getComputedStyle(child).position !== "absolute");
  const others = used.reduce((sum, child) => sum + child.offsetHeight + parseFloat(box.rowGap || 0), 0) - node.offsetHeight;
  return { scale: presented ? stage.scale : 1, width, height: Math.max(inside - others, 200) };
}

function saveBlob(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

// `save` has the functions svg() and png(); without a file name only the title is shown.
function connectTools(parent, data, save) {
  const head = parent.querySelector(".ptviz-head");
  head.hidden = !data.title && !data.name;
  head.querySelector(".ptviz-title").textContent = data.title || "";
  head.querySelector(".ptviz-gap").style.width = data.gap + "rem";
  for (const button of head.querySelectorAll("button")) button.hidden = !data.name;
  head.querySelector("[data-tool=svg]").onclick = save.svg;
  head.querySelector("[data-tool=png]").onclick = save.png;
  head.querySelector("[data-tool=full]").onclick = () => {
    if (document.fullscreenElement) document.exitFullscreen();
    else frameOf(parent)?.requestFullscreen();
  };
}

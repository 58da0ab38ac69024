// Roles that Streamlit's own elements lack. It may redraw its elements at any time, so they are watched.

// The sidebar is a list of groups of items, with the groups between list and items: to a screen reader it is no list at
// all, in a landmark of its own with one link for each page.
function repair() {
  for (const list of document.querySelectorAll("ul[data-testid=stSidebarNavItems]")) {
    for (const node of [list, ...list.querySelectorAll("li")]) {
      if (node.getAttribute("role") !== "presentation") node.setAttribute("role", "presentation");
    }
  }
}

let watching = null; // one per tab

export default function () {
  repair();
  if (watching) return;
  watching = new MutationObserver(() => {
    cancelAnimationFrame(watching.due);
    watching.due = requestAnimationFrame(repair);
  });
  watching.observe(document.body, { childList: true, subtree: true });
}

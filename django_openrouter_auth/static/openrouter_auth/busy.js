// Optional: while the answer to a form is awaited, its button says so, and sends only once.
(() => {
  const AT_WORK = '.openrouter-button[aria-busy="true"]';
  const PATIENCE = 30000; // milliseconds; the next page may have been stopped

  function restore() {
    for (const button of document.querySelectorAll(AT_WORK)) {
      button.removeAttribute("aria-busy");
    }
  }

  // At the window: every other script decides first.
  window.addEventListener("submit", (event) => {
    const button = event.submitter;
    const isSentHere = !event.defaultPrevented && !event.target.hasAttribute("target");
    if (!isSentHere || !button?.matches(".openrouter-button")) {
      return;
    }
    if (event.target.querySelector(AT_WORK)) {
      event.preventDefault();
      return;
    }
    button.setAttribute("aria-busy", "true");
    setTimeout(restore, PATIENCE);
  });

  // Going back may bring the page as it was left.
  window.addEventListener("pageshow", restore);
})();

// The package's script marks a button while its form is being sent; here some are always marked.
// That script makes all of them ready when a page appears, so this one comes after it.
window.addEventListener("pageshow", () => {
  for (const button of document.querySelectorAll(".gallery-busy .openrouter-button")) {
    button.setAttribute("aria-busy", "true");
  }
});

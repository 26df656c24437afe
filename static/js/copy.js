// Buttons that copy: data-copy names the element whose text it is.

const SAID_MS = 2000;

export function offerCopies() {
  for (const button of document.querySelectorAll("[data-copy]")) offer(button);
}

function offer(button) {
  button.hidden = !navigator.clipboard;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = label), SAID_MS);
  });
}

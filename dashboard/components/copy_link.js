// Shows the address of what the page shows, and copies it.

export default function (component) {
  const { data, parentElement } = component;
  const button = parentElement.querySelector("button");
  const field = parentElement.querySelector("input");
  const address = new URL(data.path, window.location.origin).href;
  field.value = address;
  if (!button.dataset.copied) button.textContent = "Copy link";
  button.onclick = async () => {
    let isCopied = true;
    try {
      await navigator.clipboard.writeText(address);
    } catch {
      field.focus();
      field.select();
      isCopied = document.execCommand("copy");
    }
    button.dataset.copied = "1";
    button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
    setTimeout(() => {
      delete button.dataset.copied;
      button.textContent = "Copy link";
    }, 1500);
  };
  field.onfocus = () => field.select();
}

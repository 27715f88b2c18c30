/** Runs in a page: controls without a name, and texts whose contrast is below 4.5 (https://www.w3.org/TR/WCAG22/#contrast-minimum). */

function nameless() {
  return [...document.querySelectorAll("button, input, a, summary, progress, dialog")]
    .filter(
      (element) =>
        element.textContent.trim() === "" &&
        !element.hasAttribute("aria-label") &&
        (element.labels?.length ?? 0) === 0,
    )
    .map((element) => `${element.tagName} has no name`);
}

function numbers(color) {
  return (color.match(/[\d.]+/g) ?? []).map(Number);
}

function luminance(color) {
  const [red, green, blue] = color
    .slice(0, 3)
    .map((part) => part / 255)
    .map((part) => (part <= 0.03928 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** The colour behind an element's text. */
function ground(element) {
  if (element === null) return [255, 255, 255];
  const color = numbers(getComputedStyle(element).backgroundColor);
  return color[3] === 0 ? ground(element.parentElement) : color;
}

function faint() {
  return [...document.querySelectorAll("body *")]
    .filter((element) =>
      [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== ""),
    )
    .filter((element) => element.checkVisibility())
    .map((element) => {
      const text = luminance(numbers(getComputedStyle(element).color));
      const back = luminance(ground(element));
      const contrast = (Math.max(text, back) + 0.05) / (Math.min(text, back) + 0.05);
      return { name: element.textContent.trim().slice(0, 30), contrast };
    })
    .filter(({ contrast }) => contrast < 4.5)
    .map(({ name, contrast }) => `"${name}" has a contrast of ${contrast.toFixed(1)}`);
}

globalThis.audit = () => [...nameless(), ...faint()];

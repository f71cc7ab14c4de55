// What keeps people from using a page: low contrast, missing names, small targets, wrong headings.
// A function that gives one line per fault.
() => {
  const faults = [];
  const numbers = (text) => text.match(/[\d.]+(e-\d+)?/g).map(Number);
  const colour = (text) => {
    const [r, g, b, alpha = 1] = numbers(text);
    const scale = text.startsWith("color(") ? 255 : 1; // color(srgb 1 1 1) against rgb(255 255 255)
    return [scale * r, scale * g, scale * b, alpha];
  };
  const over = (top, below) => [0, 1, 2].map((n) => top[n] * top[3] + below[n] * (1 - top[3])).concat(1);
  const light = (c) => {
    const linear = [0, 1, 2].map((n) => (c[n] / 255 <= 0.03928 ? c[n] / 255 / 12.92 : ((c[n] / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2];
  };
  const contrast = (a, b) => {
    const [more, less] = [light(a), light(b)].sort((x, y) => y - x);
    return (more + 0.05) / (less + 0.05);
  };
  const ground = (element) => {
    const layers = [];
    for (let each = element; each; each = each.parentElement) layers.push(colour(getComputedStyle(each).backgroundColor));
    return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
  };
  const isSeen = (element) => element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true });
  const all = (which) => [...document.querySelectorAll(which)].filter(isSeen);
  const check = (element, text, what, least) => {
    const below = ground(element), found = contrast(over(colour(text), below), below);
    if (found < least) faults.push(`contrast ${found.toFixed(2)} of ${what}`);
  };

  for (const element of all("body *")) {
    const own = [...element.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
    if (!own || ["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
    const style = getComputedStyle(element), size = parseFloat(style.fontSize);
    const isLarge = size >= 24 || (size >= 18.66 && style.fontWeight >= 700);
    check(element, style.color, `"${element.textContent.trim().slice(0, 30)}"`, isLarge ? 3 : 4.5);
  }
  for (const element of all("input[placeholder]")) {
    check(element, getComputedStyle(element, "::placeholder").color, "a placeholder", 4.5);
  }
  for (const element of all("input, select, button, a[href], [role=slider], progress, video")) {
    const labels = [...(element.labels ?? [])].map((each) => each.textContent).join(" ");
    if (!(element.getAttribute("aria-label") ?? (labels + element.textContent)).trim()) {
      faults.push(`no name: ${element.outerHTML.slice(0, 90)}`);
    }
  }
  for (const element of all("a, button, select, label.button, label.check, input:not([type=file], .check input)")) {
    const { width, height } = element.getBoundingClientRect();
    if (Math.min(width, height) < 24 && !element.closest("p, td, th, li, h1, h2, .plot")) {
      faults.push(`small: ${element.outerHTML.slice(0, 90)}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
  for (const id of new Set(ids.filter((each, n) => ids.indexOf(each) !== n))) faults.push(`id twice: ${id}`);
  const heads = all("h1, h2, h3, h4").map((each) => Number(each.tagName[1]));
  if (heads[0] !== 1 || heads.filter((each) => each === 1).length !== 1) faults.push(`headings ${heads}`);
  heads.forEach((each, n) => { if (n && each > heads[n - 1] + 1) faults.push(`h${each} after h${heads[n - 1]}`); });
  if (!document.documentElement.lang || !document.title) faults.push("no language, or no title");
  const most = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth > most) faults.push(`wider than ${most}`);
  return [...new Set(faults)];
}

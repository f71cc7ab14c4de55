"use strict";
// Seeking, the playhead, sorting. The page shows everything without this script, too.
const clock = (seconds, long) => {
  const whole = Math.floor(seconds + 1e-6), two = (n) => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return long ? `${h}:${two(m)}:${two(s)}` : `${two(m + 60 * h)}:${two(s)}`;
};

const players = new Map(); // id of a section -> seek(seconds)

for (const section of document.querySelectorAll("section.video")) {
  const film = section.querySelector("video");
  const time = section.querySelector(".time");
  const fault = section.querySelector(".fault");
  const now = section.querySelector(".now");
  const slider = section.querySelector("[role=slider]");
  const head = section.querySelector(".playhead");
  const length = time ? Number(time.dataset.length) : 0;
  const long = length >= 3600;
  const spans = [...section.querySelectorAll(".span[data-start]")];
  const told = [...section.querySelectorAll(".span[data-told]")];
  const strip = section.querySelector(".film");
  const frames = [...section.querySelectorAll(".frame")];
  let at = 0, wanted = null;

  const show = (seconds) => {
    at = Math.min(Math.max(seconds, 0), length || seconds);
    if (head && length) head.style.left = `${(100 * at) / length}%`;
    if (slider) {
      slider.setAttribute("aria-valuenow", at.toFixed(1));
      slider.setAttribute("aria-valuetext", clock(at, long));
    }
    const holds = (span) => Number(span.dataset.start) <= at + 1e-3 && at < Number(span.dataset.end) - 1e-3;
    for (const span of spans) span.classList.toggle("holds", holds(span));
    if (now) {
      const lines = told.filter(holds).map((span) => span.dataset.told);
      now.textContent = `${clock(at, long)}  ${[...new Set(lines)].slice(0, 4).join(" \u00b7 ")}`;
    }
    let current = frames[0];
    for (const frame of frames) if (Number(frame.dataset.seek) <= at + 1e-3) current = frame;
    for (const frame of frames) frame.classList.toggle("holds", frame === current);
    if (strip && current && strip.scrollWidth > strip.clientWidth) {
      strip.scrollLeft = current.offsetLeft - strip.offsetLeft - (strip.clientWidth - current.clientWidth) / 2;
    }
  };

  const seek = (seconds) => {
    if (film && !film.error) {
      if (film.readyState === 0) { // nothing is loaded yet
        wanted = seconds;
        film.preload = "auto";
        film.load();
      } else {
        film.currentTime = seconds;
      }
    }
    show(seconds);
  };
  players.set(section.id, seek);

  if (film) {
    film.addEventListener("loadedmetadata", () => {
      if (wanted !== null) film.currentTime = wanted;
      wanted = null;
    });
    film.addEventListener("error", () => { fault.hidden = false; });
    film.addEventListener("timeupdate", () => { if (wanted === null) show(film.currentTime); });
    film.addEventListener("play", () => {
      for (const other of document.querySelectorAll("video")) if (other !== film) other.pause();
      const step = () => {
        if (film.paused || film.ended) return;
        show(film.currentTime);
        requestAnimationFrame(step);
      };
      requestAnimationFrame(step);
    });
    if (film.error) fault.hidden = false; // it came before this script
  }

  for (const plot of section.querySelectorAll(".plot.seconds")) {
    plot.addEventListener("click", (event) => {
      if (event.target.closest(".span")) return;
      const box = plot.getBoundingClientRect();
      seek((length * (event.clientX - box.left)) / box.width);
    });
  }
  if (slider) {
    slider.addEventListener("keydown", (event) => {
      const step = Math.max(length / 100, Math.min(1, length / 10));
      const to = { ArrowRight: at + step, ArrowUp: at + step, ArrowLeft: at - step, ArrowDown: at - step,
        PageUp: at + 10 * step, PageDown: at - 10 * step, Home: 0, End: length }[event.key];
      if (event.key === " " && film) {
        if (film.paused) film.play(); else film.pause();
      } else if (to !== undefined) {
        seek(Math.min(Math.max(to, 0), length));
      } else {
        return;
      }
      event.preventDefault();
    });
  }

  // One tab stop per row of spans; arrows go from span to span.
  for (const plot of section.querySelectorAll(".plot")) {
    const own = [...plot.querySelectorAll("button.span")];
    own.sort((a, b) => Number(a.dataset.start) - Number(b.dataset.start));
    own.forEach((span, place) => {
      span.tabIndex = place ? -1 : 0;
      span.addEventListener("keydown", (event) => {
        const to = own[place + { ArrowRight: 1, ArrowLeft: -1 }[event.key]];
        if (!to) return;
        for (const each of own) each.tabIndex = each === to ? 0 : -1;
        to.focus();
        event.preventDefault();
      });
    });
  }
  show(0);
}

document.addEventListener("click", (event) => {
  const from = event.target.closest("[data-seek]");
  if (!from) return;
  const section = from.closest("section.video")?.id ?? from.getAttribute("href")?.slice(1);
  players.get(section)?.(Number(from.dataset.seek));
});

for (const table of document.querySelectorAll("table.sorted")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((cell, column) => {
    const button = cell.querySelector("button");
    if (!button) return;
    button.disabled = false;
    button.addEventListener("click", () => {
      const up = cell.getAttribute("aria-sort") !== "ascending";
      for (const each of heads) each.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent;
      const isNumber = cell.classList.contains("count");
      const number = (row) => (key(row) === "" ? NaN : Number(key(row)));
      const compare = (a, b) => {
        if (!isNumber) return (up ? 1 : -1) * key(a).localeCompare(key(b), undefined, { numeric: true });
        const [x, y] = [number(a), number(b)];
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y); // empty: last
        return up ? x - y : y - x;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}

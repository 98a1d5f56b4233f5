"use strict";
const root = document.documentElement;
const themeButton = document.getElementById("theme");
const stored = (value) => {
  // A page opened from a file may be refused its storage.
  try {
    if (value !== undefined) localStorage.setItem("theme", value);
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
};

function showTheme(theme) {
  root.dataset.theme = theme;
  themeButton.textContent = theme === "dark" ? "Light" : "Dark";
  themeButton.setAttribute("aria-label", `Switch to the ${theme === "dark" ? "light" : "dark"} theme`);
  themeButton.setAttribute("aria-pressed", String(theme === "dark"));
}
showTheme(stored() ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light"));
themeButton.addEventListener("click", () => {
  const theme = root.dataset.theme === "dark" ? "light" : "dark";
  stored(theme);
  showTheme(theme);
});

function compareCells(first, second, numeric, direction) {
  if (first === "" || second === "") return (first === "") - (second === ""); // what is missing stands last
  return direction * (numeric ? first - second : first.localeCompare(second, undefined, { numeric: true }));
}
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const numeric = head.classList.contains("n");
    const before = head.getAttribute("aria-sort");
    // Metrics are best when high: the first click puts those on top; ranks and words begin at the beginning.
    const falling = before ? before === "ascending" : numeric && column > 0;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", falling ? "descending" : "ascending");
    const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const rows = [...table.tBodies[0].rows];
    rows.sort((a, b) => compareCells(value(a), value(b), numeric, falling ? -1 : 1));
    table.tBodies[0].append(...rows);
  }));
}

const filter = document.getElementById("filter");
filter?.addEventListener("input", () => {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let left = 0, all = 0;
  for (const group of document.querySelectorAll(".group")) {
    let any = false;
    for (const row of group.querySelector("tbody").rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      any ||= !row.hidden;
      const runs = row.querySelectorAll("th a").length;
      all += runs;
      left += row.hidden ? 0 : runs;
    }
    group.hidden = !any;
  }
  document.querySelector(".filter output").textContent = words.length ? `${left} of ${all} runs` : `${all} runs`;
});

// Pages of single runs are kept as templates, which cost a browser nothing until one is opened in the ranking's place.
const board = document.getElementById("board");
const opened = document.getElementById("opened");
const pages = new Map([...document.querySelectorAll("template[data-run]")].map((page) => [`#${page.dataset.run}`, page]));
let leftAt = 0, last = "";
function follow(move) {
  const page = pages.get(location.hash);
  if (page) {
    if (!board.hidden) leftAt = scrollY;
    board.hidden = true;
    opened.replaceChildren(page.content.cloneNode(true));
    opened.hidden = false;
    last = location.hash;
    scrollTo(0, 0);
    if (move) opened.querySelector("h2").focus({ preventScroll: true });
  } else if (board?.hidden) {
    opened.replaceChildren();
    opened.hidden = true;
    board.hidden = false;
    document.querySelector(`#board a[href='${last}']`)?.focus({ preventScroll: true });
    scrollTo(0, leftAt);
  }
}
if (board) {
  addEventListener("hashchange", () => follow(true));
  follow(location.hash !== "");
}

document.addEventListener("change", (event) => {
  if (event.target.matches(".heat-switch")) event.target.closest(".gallery").classList.toggle("no-heat", !event.target.checked);
});

const large = document.getElementById("large");
document.addEventListener("click", (event) => {
  const view = event.target.closest("button.view");
  if (!view) return;
  const frame = large.querySelector(".frame");
  const pictures = [...view.querySelectorAll("img")].filter((image) => getComputedStyle(image).display !== "none");
  frame.replaceChildren(...[...pictures, view.querySelector(".name")].map((part) => part.cloneNode(true)));
  large.querySelector(".scale")?.remove();
  const scale = pictures.some((image) => image.matches(".heat")) && view.closest(".gallery").querySelector(".scale");
  if (scale) large.querySelector("form").prepend(scale.cloneNode(true));
  frame.style.aspectRatio = view.style.aspectRatio;
  large.setAttribute("aria-label", view.getAttribute("aria-label").replace("Enlarge ", ""));
  large.showModal();
});
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

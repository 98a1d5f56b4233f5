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

const runs = [...document.querySelectorAll("article.run")];
function openRun(move) {
  const asked = runs.find((run) => `#${run.id}` === location.hash);
  const shown = asked ?? runs[0];
  runs.forEach((run) => { run.hidden = run !== shown; });
  document.querySelectorAll('a[href^="#run-"]').forEach((link) => {
    if (link.hash === `#${shown.id}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  });
  if (asked && move) {
    shown.scrollIntoView();
    shown.querySelector("h2").focus({ preventScroll: true });
  }
}
addEventListener("hashchange", () => openRun(true));
openRun(location.hash !== "");

for (const box of document.querySelectorAll(".heat-switch")) {
  box.addEventListener("change", () => box.closest(".gallery").classList.toggle("no-heat", !box.checked));
}

const large = document.getElementById("large");
for (const view of document.querySelectorAll("button.view")) {
  view.addEventListener("click", () => {
    const frame = large.querySelector(".frame");
    const pictures = [...view.querySelectorAll("img")].filter((image) => getComputedStyle(image).display !== "none");
    frame.replaceChildren(...pictures.map((image) => image.cloneNode()));
    frame.style.aspectRatio = view.style.aspectRatio;
    large.setAttribute("aria-label", view.getAttribute("aria-label").replace("Enlarge ", ""));
    large.showModal();
  });
}
large.addEventListener("click", (event) => { if (event.target === large) large.close(); });

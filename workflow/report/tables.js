// Tables sort by their headings and show the rows that a search field asks for.

function sort(table, heading, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const column = heading.cellIndex;
  const value = (line) => line.cells[column].dataset.value;
  const number = (line) => Number.parseFloat(value(line));
  const last = (a, b) => Number.isNaN(number(a)) - Number.isNaN(number(b)); // what has no number, in both directions
  const compare = heading.classList.contains("number")
    ? (a, b) => last(a, b) || sign * (number(a) - number(b)) || 0
    : (a, b) => sign * value(a).localeCompare(value(b));
  table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", direction);
}

function sortAgain(table) {
  const sorted = table.querySelector("[aria-sort]");
  if (sorted) sort(table, sorted, sorted.getAttribute("aria-sort"));
}

function filter(field) {
  const rows = [...document.getElementById(field.dataset.filters).tBodies[0].rows];
  const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = [...row.cells].map((cell) => cell.dataset.value ?? cell.textContent).join(" ").toLowerCase();
    const type = row.querySelector(".note")?.textContent.toLowerCase() ?? "";
    row.hidden = !words.every((word) => text.includes(word) || type.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  const output = document.querySelector(`[data-counts="${field.dataset.filters}"]`);
  output.textContent = words.length ? `${shown} of ${rows.length}` : "";
}

for (const table of document.querySelectorAll("table.sortable")) {
  table.tHead.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const heading = button.closest("th");
    const first = heading.classList.contains("number") ? "descending" : "ascending";
    const second = first === "ascending" ? "descending" : "ascending";
    sort(table, heading, heading.getAttribute("aria-sort") === first ? second : first);
  });
}
for (const field of document.querySelectorAll("[data-filters]")) {
  field.addEventListener("input", () => filter(field));
}
// On a narrow page a row is a card, in which each cell says what it is.
for (const table of document.querySelectorAll("table.cards")) {
  const labels = [...table.tHead.rows[0].cells].map((cell) => cell.textContent.trim());
  for (const row of table.tBodies[0].rows) {
    for (const cell of row.cells) if (cell.tagName === "TD") cell.dataset.label = labels[cell.cellIndex];
  }
}

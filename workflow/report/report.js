"use strict";
(() => {
  const data = JSON.parse(document.getElementById("by-class").textContent);
  const scheme = document.getElementById("scheme");
  const cells = document.getElementById("cells");
  const MANY = 20;

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function row(...children) {
    const made = document.createElement("tr");
    made.append(...children);
    return made;
  }

  function drawConfusion() {
    const table = document.getElementById("confusion");
    const percent = cells.value === "percent";
    table.classList.toggle("many", data.classes.length > MANY);
    table.caption.textContent =
      `${scheme.value}: true class in rows, predicted class in columns, all folds and seeds added up`;
    const heading = row(element("td", "", { style: "background: none" }));
    for (const name of data.classes) {
      const th = element("th", "", { scope: "col", title: name });
      th.append(element("span", name));
      heading.append(th);
    }
    table.tHead.replaceChildren(heading);
    const rows = data.schemes[scheme.value].confusion.map((counts, i) => {
      const support = counts.reduce((sum, count) => sum + count, 0);
      return row(
        element("th", data.classes[i], { scope: "row", title: data.classes[i] }),
        ...counts.map((count, j) => {
          const share = support ? count / support : 0;
          const kind = share > 0.5 ? "high" : count ? "some" : "zero";
          return element("td", !count ? "·" : percent ? (100 * share).toFixed(0) : count, {
            class: kind,
            style: `--share: ${share.toFixed(3)}`,
            title: `${data.classes[i]} taken for ${data.classes[j]}: ${count} of ${support}`,
          });
        }),
      );
    });
    table.tBodies[0].replaceChildren(...rows);
  }

  function drawClasses() {
    const table = document.getElementById("per-class");
    table.caption.textContent = `${scheme.value}: how well each class is found, all folds and seeds added up`;
    const rows = data.schemes[scheme.value].scores.map(([precision, recall, f1, support], i) =>
      row(
        element("th", data.classes[i], { scope: "row", "data-value": data.classes[i] }),
        ...[precision, recall, f1].map((value) =>
          element("td", value.toFixed(3), { class: "number", "data-value": value }),
        ),
        element("td", support, { class: "number", "data-value": support }),
      ),
    );
    table.tBodies[0].replaceChildren(...rows);
    const sorted = table.querySelector("[aria-sort]");
    if (sorted) sort(table, sorted, sorted.getAttribute("aria-sort"));
  }

  function sort(table, heading, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const column = heading.cellIndex;
    const numeric = heading.classList.contains("number");
    const value = (line) => line.cells[column].dataset.value;
    const compare = numeric
      ? (a, b) => sign * (Number.parseFloat(value(a)) - Number.parseFloat(value(b)))
      : (a, b) => sign * value(a).localeCompare(value(b));
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare));
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", direction);
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
  scheme.addEventListener("change", () => { drawConfusion(); drawClasses(); });
  cells.addEventListener("change", drawConfusion);
  drawConfusion();
  drawClasses();
})();

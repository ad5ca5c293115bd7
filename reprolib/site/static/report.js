// Sorts tables by their columns: a button in a header cell, aria-sort on the cell. Without script the table stays as is.
"use strict";

for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const printed = [...body.rows];
  for (const button of table.querySelectorAll("th > button")) {
    button.addEventListener("click", () => sortBy(table, body, printed, button.parentElement));
  }
}

// Ascending, descending, then the printed order again. Cells without a value stay at the end.
function sortBy(table, body, printed, head) {
  const next = { none: "ascending", ascending: "descending", descending: "none" }[head.getAttribute("aria-sort") || "none"];
  for (const other of table.querySelectorAll("th[aria-sort]")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", next);
  if (next === "none") return body.append(...printed);
  const column = Number(head.dataset.column);
  const sign = next === "ascending" ? 1 : -1;
  const keyed = printed.map((row) => [key(row.cells[column]), row]);
  keyed.sort(([one], [other]) => {
    if (one === null || other === null) return (one === null) - (other === null);
    const order = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
    return sign * order;
  });
  body.append(...keyed.map(([, row]) => row));
}

// A number where the cell gives one in data-value, null where that is empty, else the cell's text.
function key(cell) {
  const value = cell.dataset.value;
  if (value === undefined) return cell.textContent.trim() || null;
  if (value === "") return null;
  return Number.isNaN(Number(value)) ? value : Number(value);
}

// A region that scrolls sideways can be scrolled with the keyboard; one that does not is no stop for it.
function stops() {
  for (const region of document.querySelectorAll(".scroll")) {
    if (region.scrollWidth > region.clientWidth) region.tabIndex = 0;
    else region.removeAttribute("tabindex");
  }
}
addEventListener("resize", stops);
addEventListener("toggle", stops, true);
stops();

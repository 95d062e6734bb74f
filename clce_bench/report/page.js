"use strict";
(() => {
  const tables = [...document.querySelectorAll("table[data-sortable]")];
  const rows = tables.flatMap((table) => [...table.tBodies[0].rows]);

  // Numbers before words, and what is not there last, whatever the direction.
  const value = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace("−", "-"));
    return text === "–" || text === "" ? null : /^[+−-]?[\d.]/.test(text) ? number : text.toLowerCase();
  };
  const order = (a, b) => {
    if (typeof a === typeof b) return a < b ? -1 : a > b ? 1 : 0;
    return typeof a === "number" ? -1 : 1;
  };
  const sort = (table, column) => {
    const header = table.tHead.rows[0].cells[column];
    const down = header.getAttribute("aria-sort") === "ascending";
    for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", down ? "descending" : "ascending");
    const keyed = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
    keyed.sort(([a], [b]) => {
      if (a === null || b === null) return (a === null) - (b === null);
      return down ? order(b, a) : order(a, b);
    });
    table.tBodies[0].append(...keyed.map(([, row]) => row));
  };
  for (const table of tables) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...cell.childNodes);
      button.addEventListener("click", () => sort(table, column));
      cell.append(button);
    });
  }

  const filters = document.querySelector(".filters");
  const [dataset, loss, text] = ["dataset", "loss", "text"].map((name) => filters.querySelector(`[name=${name}]`));
  const said = filters.querySelector("output");
  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    for (const row of rows) {
      const fits =
        (!dataset.value || !row.dataset.dataset || row.dataset.dataset === dataset.value) &&
        (!loss.value || !row.dataset.loss || row.dataset.loss === loss.value) &&
        (!wanted || row.textContent.toLowerCase().includes(wanted));
      row.hidden = !fits;
      shown += fits;
    }
    said.textContent = `${shown} of ${rows.length} rows`;
  };
  for (const [select, key] of [[dataset, "dataset"], [loss, "loss"]]) {
    const names = new Set(rows.map((row) => row.dataset[key]).filter(Boolean));
    for (const name of names) select.append(new Option(name, name));
  }
  filters.hidden = false;
  filters.addEventListener("input", apply);
  filters.addEventListener("reset", () => setTimeout(apply));
  apply();

  const dialog = document.querySelector("dialog");
  for (const button of document.querySelectorAll("figure > button")) {
    button.addEventListener("click", () => {
      const image = button.querySelector("img");
      dialog.querySelector("img").replaceWith(image.cloneNode());
      dialog.setAttribute("aria-label", image.alt);
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => { if (event.target.tagName !== "DIALOG") dialog.close(); });

  // A copy button for each text that is meant for elsewhere.
  for (const block of document.querySelectorAll(".copied")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    const text = block.firstElementChild;
    button.addEventListener("click", async () => {
      getSelection().selectAllChildren(text);
      try {
        await navigator.clipboard.writeText(text.textContent);
      } catch {
        document.execCommand("copy");
      }
      button.textContent = "Copied";
    });
    block.append(button);
  }
})();

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

  // A mark tells what it stands for to whoever points at it, or moves to it: Tab to a figure, arrow keys within.
  const told = document.querySelector("#told");
  const groups = [...document.querySelectorAll(".marks")];
  const marksOf = (group) => [...group.querySelectorAll("[role=img]")];
  const rove = (group, current) => {
    // Chromium calls what is in a hidden part of an SVG visible.
    const seen = marksOf(group).filter((mark) => mark.checkVisibility() && !mark.closest("[hidden]"));
    for (const mark of marksOf(group)) mark.setAttribute("tabindex", mark === (current ?? seen[0]) ? 0 : -1);
    return seen;
  };
  const tell = (mark) => {
    told.textContent = mark.getAttribute("aria-label");
    told.hidden = false;
    const at = (mark.querySelector(".dot") ?? mark).getBoundingClientRect();
    const { width, height } = told.getBoundingClientRect();
    told.style.left = `${Math.max(8, Math.min(innerWidth - width - 8, at.x + (at.width - width) / 2))}px`;
    told.style.top = `${at.bottom + height + 20 < innerHeight ? at.bottom + 12 : at.top - height - 12}px`;
  };
  const hush = () => { told.hidden = true; };
  for (const group of groups) {
    group.hidden = false;
    rove(group);
    for (const mark of marksOf(group)) {
      mark.addEventListener("pointerenter", () => tell(mark));
      mark.addEventListener("pointerleave", hush);
      mark.addEventListener("focus", () => { rove(group, mark); tell(mark); });
      mark.addEventListener("blur", hush);
      mark.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
        if (event.key === "Escape") hush();
        if (!step) return;
        event.preventDefault();
        const seen = rove(group, mark);
        seen[(seen.indexOf(mark) + step + seen.length) % seen.length].focus();
      });
    }
  }
  document.addEventListener("scroll", hush, { passive: true });

  // A part of the page shows one metric or all, and comparisons of the losses that are ticked.
  const inOrder = document.body.dataset.order.split("|");
  for (const form of document.querySelectorAll(".choose")) {
    const part = form.closest("figure, section");
    const items = [...part.querySelectorAll("[data-metric], [data-losses]")];
    const lossesOf = (item) => (item.dataset.losses ? item.dataset.losses.split("|") : []);
    const metrics = new Set(items.map((item) => item.dataset.metric).filter(Boolean));
    const select = document.createElement("select");
    if (!("one" in form.dataset)) select.append(new Option("all", ""));
    for (const metric of metrics) select.append(new Option(metric, metric));
    const labelled = (text, ...parts) => {
      const label = document.createElement("label");
      label.append(...parts, text);
      form.append(label);
    };
    if (metrics.size > 1) labelled("", "Show ", select);
    const losses = new Map();
    for (const item of items) for (const loss of lossesOf(item)) losses.set(loss, losses.get(loss) || item.style.color);
    const named = [...losses].sort(([a], [b]) => inOrder.indexOf(a) - inOrder.indexOf(b));
    const boxes = (named.length > 1 ? named : []).map(([loss, color]) => {
      const box = Object.assign(document.createElement("input"), { type: "checkbox", value: loss, checked: true });
      box.style.accentColor = color;
      labelled(` ${loss}`, box);
      return box;
    });
    const choose = (event) => {
      const without = boxes.filter((box) => !box.checked).map((box) => box.value);
      for (const item of items) {
        const other = select.value && item.dataset.metric && item.dataset.metric !== select.value;
        item.toggleAttribute("hidden", other || lossesOf(item).some((loss) => without.includes(loss)));
      }
      for (const row of part.querySelectorAll("tr")) {
        const inner = row.querySelectorAll("[data-losses]");
        if (inner.length) row.hidden = [...inner].every((item) => item.hidden);
      }
      if (event) for (const more of part.querySelectorAll("details.more")) more.open = true;
      groups.filter((group) => part.contains(group)).forEach((group) => rove(group));
    };
    form.addEventListener("input", choose);
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = !form.childElementCount;
    choose();
  }

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

"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { $, make, sortable } = page;

  const sheet = document.createElement("style");
  sheet.textContent = data.colours.map((colour, i) => `.dot${i}{background:${colour}}`).join("");
  document.head.append(sheet);

  document.querySelectorAll("table.sortable").forEach((table) => { if (table.id !== "class-table") sortable(table); });

  // the page of a run that goes on looks again, and shows then what it showed
  const choices = ["pick-dataset", "pick-metric", "filter", "class-dataset", "class-metric"].map($);
  const kept = (() => { try { return JSON.parse(sessionStorage.getItem("diadbench-choices")) || {}; } catch { return {}; } })();
  try { sessionStorage.removeItem("diadbench-choices"); } catch { /* nothing was kept */ }
  const said = (control) => control.tagName === "SELECT" ? control.selectedOptions[0]?.textContent ?? "" : control.value;
  const recall = (control) => {
    if (control.tagName !== "SELECT") control.value = kept[control.id] ?? control.value;
    for (const option of control.options ?? []) if (option.textContent === kept[control.id]) control.value = option.value;
  };
  choices.forEach(recall);
  const every = Number($("growing")?.dataset.reload ?? 0);
  const again = () => {
    if ($("cell").open || document.activeElement.matches("input, select")) { setTimeout(again, 1000); return; }
    try {
      sessionStorage.setItem("diadbench-choices", JSON.stringify(Object.fromEntries(choices.map((c) => [c.id, said(c)]))));
    } catch { /* the choices are lost, the rows come */ }
    location.reload();
  };
  if (every) setTimeout(again, 1000 * every);

  // filters of the summary
  const summary = $("summary-table");
  const filter = () => {
    const dataset = $("pick-dataset").value, metric = $("pick-metric").value, text = $("filter").value.toLowerCase();
    let shown = 0;
    for (const row of summary.tBodies[0].rows) {
      const name = row.cells[1].textContent.toLowerCase();
      row.hidden = (dataset !== "" && row.dataset.d !== dataset) || !name.includes(text);
      shown += !row.hidden;
    }
    for (const row of summary.rows) {
      [...row.cells].slice(2).forEach((cell, i) => { cell.hidden = metric !== "" && String(i) !== metric; });
    }
    $("count").textContent = `${shown} of ${summary.tBodies[0].rows.length} rows`;
  };
  for (const id of ["pick-dataset", "pick-metric", "filter"]) $(id).addEventListener("input", filter);
  filter();

  // the table by class
  const metricName = (metric) => [metric.base, ...(metric.level ? [make("sub", {}, metric.level)] : [])];
  const figure = (entry, key) => {
    const cell = make("td", { class: `n r${entry[2]}`, "data-v": entry[3] === null ? "" : entry[3] }, entry[0]);
    if (entry[1]) cell.append(make("small", {}, ` ± ${entry[1]}`));
    if (key) cell.dataset.cell = key;
    return cell;
  };
  const classTable = () => {
    const block = data.classes[$("class-dataset").value];
    const table = $("class-table");
    const select = $("class-metric");
    if (!block) return;
    const wanted = select.value;
    select.replaceChildren(...block.metrics.map((m) => make("option", { value: m.key }, m.text)));
    if (block.metrics.some((m) => m.key === wanted)) select.value = wanted;
    const metric = block.metrics.find((m) => m.key === select.value);
    const rows = block.values[metric.key];
    table.caption.replaceChildren(make("span", {}, `${block.name}: `, ...metricName(metric), ", percent. ", block.seeds));
    const heads = ["Method", ...block.classes].map((name, i) => make("th", { scope: "col", class: i ? "n" : "" }, name));
    table.tHead.replaceChildren(make("tr", {}, ...heads));
    table.tBodies[0].replaceChildren(...rows.map((row) => {
      const open = make("button", { type: "button", class: "open", "data-cell": row.key },
        make("i", { class: `dot dot${row.m}`, "aria-hidden": "true" }), row.method);
      return make("tr", row.ours ? { class: "ours" } : {}, make("th", { scope: "row" }, open), ...row.entries.map((entry) => figure(entry, row.key)));
    }));
    sortable(table);
  };
  $("class-dataset").addEventListener("input", classTable);
  $("class-metric").addEventListener("input", classTable);
  classTable();
  if (kept["class-metric"]) { recall($("class-metric")); classTable(); }

  // one cell in full
  const dialog = $("cell");
  const show = (key) => {
    const cell = data.cells[key];
    if (!cell) return;
    const body = $("cell-body");
    $("cell-title").textContent = `${cell.method} on ${cell.dataset}`;
    body.replaceChildren();
    const block = data.classes[cell.d];
    if (block) {
      const lines = block.metrics.map((metric) => {
        const row = block.values[metric.key].find((line) => line.key === key);
        return row && make("tr", {}, make("th", { scope: "row" }, ...metricName(metric)), ...row.entries.map((e) => figure(e)));
      }).filter(Boolean);
      const heads = ["Metric", ...block.classes].map((name, i) => make("th", { scope: "col", class: i ? "n" : "" }, name));
      if (lines.length) body.append(make("h3", {}, "Classes"), make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Classes" },
        make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines))));
    }
    if (cell.shots.length) {
      const shots = cell.shots.map((shot) => make("div", {}, make("div", { class: "row" },
        ...shot.images.map(([what, place]) => make("img", { src: data.pictures[place], alt: `${what} of ${shot.name}`, title: what }))),
      make("p", {}, `${shot.kind}, ${shot.defect} (${shot.why}); score ${shot.score}: ${shot.images.map(([w]) => w).join(", ")}`)));
      body.append(make("h3", {}, "Images"), make("div", { class: "shots" }, ...shots));
    }
    for (const seed of cell.seeds) {
      const facts = make("dl", {}, ...seed.facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)]));
      const part = make("details", {}, make("summary", {}, `Seed ${seed.seed}: ${seed.state}${seed.reason ? " – " + seed.reason : ""}`), facts);
      if (cell.seeds.length === 1 || seed.state !== "done") part.open = true;
      for (const [name, text] of [["Traceback", seed.traceback], ["Log (its end)", seed.log], ["Configuration", seed.config]]) {
        if (text) part.append(make("h3", {}, name), make("pre", { tabindex: "0" }, text));
      }
      body.append(part);
    }
    dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    const from = event.target.closest("[data-cell]");
    if (from) show(from.dataset.cell);
  });
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });

  // arrows move between the buttons of a table, / goes to the filter
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !/INPUT|SELECT|TEXTAREA/.test(document.activeElement.tagName)) {
      event.preventDefault();
      $("filter").focus();
    }
    const button = document.activeElement.closest?.("tbody button.open");
    if (button && (event.key === "ArrowDown" || event.key === "ArrowUp")) {
      const all = [...button.closest("tbody").querySelectorAll("tr:not([hidden]) button.open")];
      const next = all[all.indexOf(button) + (event.key === "ArrowDown" ? 1 : -1)];
      if (next) { event.preventDefault(); next.focus(); }
    }
  });
})();

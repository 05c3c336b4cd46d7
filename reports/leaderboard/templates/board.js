"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { $, make, sortable } = page;
  const table = $("board-table");
  sortable(table);

  // filters: every select by its own column, the text by method and source
  const selects = [...document.querySelectorAll("select[data-filter]")];
  const published = $("published");
  const filter = () => {
    const text = $("filter").value.toLowerCase();
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) {
      const named = `${row.cells[1].textContent} ${row.cells[row.cells.length - 1].textContent}`.toLowerCase();
      const other = selects.some((select) => select.value !== "" && row.dataset[select.dataset.filter] !== select.value);
      const left = published && !published.checked && row.classList.contains("published");
      row.hidden = other || left || !named.includes(text);
    }
    $("count").textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  for (const control of [...selects, $("filter"), published]) if (control) control.addEventListener("input", filter);
  filter();

  // where a figure comes from
  const dialog = $("cell");
  const scroll = (name, ...inside) => make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": name }, ...inside);
  const seeds = (row) => {
    const heads = row.heads.map((name, i) => make("th", { scope: "col", class: i ? "n" : "" }, name));
    const lines = row.seeds.map(([seed, ...values]) => make("tr", {}, make("th", { scope: "row" }, seed),
      ...values.map((text) => make("td", { class: "n" }, text))));
    return scroll("Seeds", make("table", {}, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines)));
  };
  const show = (row) => {
    $("cell-title").textContent = row.title;
    const body = $("cell-body");
    body.replaceChildren(make("h3", {}, "Where it comes from"),
      make("dl", {}, ...row.facts.flatMap(([k, v]) => [make("dt", {}, k), make("dd", {}, v)])));
    if (row.seeds.length) body.append(make("h3", {}, "Seeds"), seeds(row));
    if (row.beside.length) {
      body.append(make("h3", {}, "Beside other figures of it"), make("ul", {}, ...row.beside.map((text) => make("li", {}, text))));
    }
    if (row.repeat) {
      body.append(make("h3", {}, "How to repeat it"),
        make("p", {}, "With the run or its pack at hand, one cell exactly as it was:"),
        make("pre", { tabindex: "0" }, row.cells.map((cell) => `diadbench rerun ${cell} --compare`).join("\n")),
        make("p", {}, "From the start, as repeat.yaml:"), make("pre", { tabindex: "0" }, row.repeat));
    }
    dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    const from = event.target.closest("[data-row]");
    if (from) show(data.rows[Number(from.dataset.row)]);
  });
  $("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
})();

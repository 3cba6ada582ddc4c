"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
let described = null; // the cell that the tip is about
let closing = 0;

// --- the state of the view, in the address: what is sorted, filtered and chosen can be sent -------------------------------

const state = new URLSearchParams(location.hash.slice(1));

function remember(key, value) {
  if (value) state.set(key, value);
  else state.delete(key);
  history.replaceState(null, "", `#${state}`);
}

// --- how a number was obtained ---------------------------------------------------------------------------------------

function describe(cell, lines) {
  clearTimeout(closing);
  if (described) described.removeAttribute("aria-describedby");
  described = cell;
  tip.replaceChildren(...lines.filter(Boolean).map((line, index) => {
    const paragraph = document.createElement("p");
    const text = index ? paragraph : paragraph.appendChild(document.createElement("strong"));
    text.textContent = line;
    return paragraph;
  }));
  cell.setAttribute("aria-describedby", "tip");
  tip.hidden = false;
  beside(cell);
}

function beside(cell) {
  const place = cell.getBoundingClientRect();
  const below = place.bottom + tip.offsetHeight + 6 < innerHeight;
  tip.style.left = `${Math.max(8, Math.min(place.left, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${below ? place.bottom + 2 : Math.max(4, place.top - tip.offsetHeight - 2)}px`;
}

function close() {
  tip.hidden = true;
  if (described) described.removeAttribute("aria-describedby");
  described = null;
}

tip.addEventListener("pointerenter", () => clearTimeout(closing));
tip.addEventListener("pointerleave", close);
document.addEventListener("keydown", (event) => { if (event.key === "Escape") close(); });
addEventListener("scroll", (event) => {
  if (event.target === tip || !described) return;
  if (described === document.activeElement) beside(described); // going to a cell scrolls to it: the tip stays with it
  else close();
}, true);

// --- tables ----------------------------------------------------------------------------------------------------------

function start(section) {
  const table = data.tables[section.dataset.table];
  const body = one("tbody", section);
  const heads = all("th", one("thead", section)); // not those of the tables within
  const tools = one(".tools", section);
  const shown = table.columns.map(({ optional }) => !(optional && innerWidth < 1200)); // a narrow screen begins with fewer
  const texts = table.cells.map((cells) => [...cells]);
  const raw = table.raw.map((cells) => [...cells]);
  let against = null;
  const name = section.dataset.table;
  let sorted = 0; // the column and one; below zero: descending; zero: the order of the report
  const rows = () => [...body.rows];
  const visible = () => rows().filter((row) => !row.hidden);
  const number = (row) => Number(row.dataset.row);

  function lines(cell) {
    const row = number(cell.parentElement), column = table.columns[cell.cellIndex], values = raw[row][cell.cellIndex];
    if (!texts[row][cell.cellIndex]) return ["No number here", column.heading];
    const changes = against && against.cells[cell.cellIndex];
    const exact = column.keys.map((key, index) => [key, values[index]]).filter(([, value]) => typeof value === "number");
    const measured = table.settings[column.kind][row];
    return [
      [table.names[row], column.heading].filter(Boolean).join(" · "),
      texts[row][cell.cellIndex],
      exact.length && `unrounded: ${exact.map(([key, value]) => `${key} = ${Number(value.toPrecision(6))}`).join(", ")}`,
      measured && `measured with: ${measured}`,
      changes && `against ${against.label}${texts[row][cell.cellIndex].startsWith("≈")
        ? ": the quotient of the two numbers, which were not measured side by side, so without an interval" : ""}`,
      ...column.how.filter((line, index) => index < 2 || (table.names[row] && line.includes(table.names[row]))),
    ];
  }

  function sort(value) {
    const index = Math.abs(value) - 1, down = value < 0;
    sorted = value;
    remember(`${name}.sort`, value);
    const key = (row) => !value ? number(row) : table.columns[index].number && typeof raw[number(row)][index][0] === "number"
      ? raw[number(row)][index][0] : texts[number(row)][index];
    const order = rows().map((row) => [key(row), row]);
    order.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what has no number comes last, either way
      const way = typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return down ? -way : way;
    });
    body.append(...order.map(([, row]) => row));
    heads.forEach((head, other) => value && other === index
      ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
  }

  function filter() {
    remember(`${name}.filter`, one(".filter", section).value);
    const words = one(".filter", section).value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows()) {
      const text = texts[number(row)].join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    say(words.length ? `${visible().length} of ${rows().length} rows` : "");
    reachable();
  }

  function choose(value) {
    remember(`${name}.baseline`, value);
    against = value === "" ? null : table.baselines[Number(value)];
    for (const row of rows()) {
      for (const index of Object.keys(table.baselines[0].cells).map(Number)) {
        const [text, ...values] = against
          ? against.cells[index][number(row)] : [table.cells[number(row)][index], ...table.raw[number(row)][index]];
        texts[number(row)][index] = text;
        raw[number(row)][index] = values;
        row.cells[index].textContent = text;
      }
      row.cells[0].classList.toggle("chosen", against !== null && against.row === number(row));
    }
    all(":scope > .note", section).filter(({ textContent }) => textContent.startsWith("Changes are against"))
      .forEach((note) => { note.hidden = against !== null; });
    say(against ? `changes are against ${against.label}` : "");
    if (section.dataset.table === data.plotted) document.dispatchEvent(new CustomEvent("baseline", { detail: against && against.row }));
  }

  function hide(index) { // or show: as the list of columns says
    [heads[index], ...rows().map((row) => row.cells[index])].forEach((cell) => { cell.hidden = !shown[index]; });
    all(".columns input", tools)[index].checked = shown[index];
  }

  function say(text) { one(".said", section).textContent = text; }

  function csv() {
    const quoted = (value) => /[",\n\r]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value;
    const guarded = (value) => /^[=+\-@\t\r＝＋－＠]/.test(value) ? `'${value}` : value; // or a spreadsheet runs it
    const columns = table.columns.map((column, index) => ({ ...column, index })).filter(({ index }) => shown[index]);
    const head = columns.flatMap((column) => column.number ? column.keys : [column.heading]);
    const body = visible().map((row) => columns.flatMap((column) => column.number
      ? raw[number(row)][column.index].map((value) => typeof value === "string" ? guarded(value) : `${value ?? ""}`)
      : [guarded(texts[number(row)][column.index])]));
    return [head, ...body].map((cells) => cells.map(quoted).join(",")).join("\n") + "\n";
  }

  function latex() {
    const set = (text) => [...text].map((sign, at, signs) => sign === "-" && signs[at + 1] === "-" ? "-{}" : data.latex[sign] ?? sign).join("");
    const columns = table.columns.map((column, index) => ({ ...column, index })).filter(({ index }) => shown[index]);
    const line = (cells) => `${cells.map(set).join(" & ")} \\\\`;
    return ["% in the preamble: \\usepackage{booktabs}",
      `\\begin{tabular}{${columns.map((column) => column.number ? "r" : "l").join("")}}`, "\\toprule",
      line(columns.map((column) => column.heading)), "\\midrule",
      ...visible().map((row) => line(columns.map((column) => texts[number(row)][column.index]))),
      "\\bottomrule", "\\end{tabular}", ""].join("\n");
  }

  function reachable() { // one cell is where Tab comes in; the arrow keys go on from there
    all("[tabindex='0']", body).forEach((cell) => { cell.tabIndex = -1; });
    const cell = visible().flatMap((row) => [...row.cells]).find((cell) => !cell.hidden);
    if (cell) cell.tabIndex = 0;
  }

  function go(event) {
    const cell = event.target.closest("td, th");
    const steps = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
    if (!cell || (!steps && event.key !== "Home" && event.key !== "End")) return;
    event.preventDefault();
    const lines = visible(), cells = [...cell.parentElement.cells].filter((other) => !other.hidden);
    const at = cells.indexOf(cell);
    const across = steps ? at + steps[1] : event.key === "Home" ? 0 : cells.length - 1;
    const down = lines.indexOf(cell.parentElement) + (steps ? steps[0] : 0);
    const target = lines[down] && [...lines[down].cells].filter((other) => !other.hidden)[across];
    if (!target) return;
    cell.tabIndex = -1;
    target.tabIndex = 0;
    target.focus();
  }

  tools.hidden = false;
  heads.forEach((head, index) => {
    const button = one("button", head);
    button.disabled = false;
    button.addEventListener("click", () => sort(sorted === index + 1 ? -sorted : sorted === -(index + 1) ? 0 : index + 1));
  });
  all("td, th", body).forEach((cell) => { cell.tabIndex = -1; });
  shown.forEach((is, index) => is || hide(index));
  reachable();
  one(".filter", tools).addEventListener("input", filter);
  one(".baseline", tools)?.addEventListener("change", (event) => choose(event.target.value));
  one(".columns", tools).addEventListener("change", (event) => {
    const index = Number(event.target.value);
    shown[index] = event.target.checked;
    hide(index);
    reachable();
  });
  one(".columns", tools).addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    one(".columns", tools).open = false;
    one("summary", tools).focus();
  });
  for (const button of all("[data-copy]", tools)) {
    button.addEventListener("click", async () => {
      say(await copy(button.dataset.copy === "csv" ? csv() : latex()) ? "copied" : "the browser lets nothing be copied");
    });
  }
  body.addEventListener("keydown", go);
  if (state.has(`${name}.sort`) && Math.abs(state.get(`${name}.sort`)) <= table.columns.length) sort(Number(state.get(`${name}.sort`)));
  if (state.has(`${name}.filter`)) {
    one(".filter", tools).value = state.get(`${name}.filter`);
    filter();
  }
  const select = one(".baseline", tools);
  if (select && table.baselines[state.get(`${name}.baseline`)]) {
    select.value = state.get(`${name}.baseline`);
    choose(select.value);
  }
  body.addEventListener("focusin", ({ target }) => describe(target, lines(target.closest("td, th"))));
  body.addEventListener("focusout", close);
  body.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("td, th");
    if (cell && cell !== described) describe(cell, lines(cell));
  });
  body.addEventListener("pointerleave", () => { closing = setTimeout(close, 150); });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.body.appendChild(document.createElement("textarea"));
    area.value = text;
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}

all(".grid").forEach(start);
all(".help").forEach((help) => { help.hidden = false; });
document.addEventListener("click", (event) => {
  all(".columns[open]").filter((list) => !list.contains(event.target)).forEach((list) => { list.open = false; });
});

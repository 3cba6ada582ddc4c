"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const tip = document.getElementById("tip");
const one = (selector, within = document) => within.querySelector(selector);
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
let described = null; // the cell that the tip is about
let closing = 0;

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
  const heads = all("thead th", section);
  const tools = one(".tools", section);
  const shown = table.columns.map(() => true);
  const texts = table.cells.map((cells) => [...cells]);
  const raw = table.raw.map((cells) => [...cells]);
  let against = null;
  let sorted = null;
  const rows = () => [...body.rows];
  const visible = () => rows().filter((row) => !row.hidden);
  const number = (row) => Number(row.dataset.row);

  function lines(cell) {
    const row = number(cell.parentElement), column = table.columns[cell.cellIndex], values = raw[row][cell.cellIndex];
    if (!texts[row][cell.cellIndex]) return ["No number here", column.heading];
    const changes = against && against.cells[cell.cellIndex];
    return [
      [table.names[row], column.heading].filter(Boolean).join(" · "),
      texts[row][cell.cellIndex],
      column.number && `exactly ${column.keys.map((key, index) => `${key} = ${values[index] ?? "none"}`).join(", ")}`,
      table.settings[row] && `measured with: ${table.settings[row]}`,
      changes && `against ${against.label}${texts[row][cell.cellIndex].startsWith("≈")
        ? ": the quotient of the two numbers, which were not measured side by side, so without an interval" : ""}`,
      ...column.how,
    ];
  }

  function sort(index) {
    const down = sorted === index + 1;
    sorted = down ? -(index + 1) : index + 1;
    const key = (row) => table.columns[index].number && typeof raw[number(row)][index][0] === "number"
      ? raw[number(row)][index][0] : texts[number(row)][index];
    const order = rows().map((row) => [key(row), row]);
    order.sort(([a], [b]) => {
      if (a === "" || b === "") return (a === "") - (b === ""); // what has no number comes last, either way
      const way = typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
      return down ? -way : way;
    });
    body.append(...order.map(([, row]) => row));
    heads.forEach((head, other) => other === index
      ? head.setAttribute("aria-sort", down ? "descending" : "ascending") : head.removeAttribute("aria-sort"));
  }

  function filter() {
    const words = one(".filter", section).value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows()) {
      const text = texts[number(row)].join(" ").toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
    say(words.length ? `${visible().length} of ${rows().length} rows` : "");
    reachable();
  }

  function choose(value) {
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
    say(against ? `changes are against ${against.label}` : "");
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
    const set = (text) => [...text].map((sign) => data.latex[sign] ?? sign).join("").replaceAll(/-(?=-)/g, "-{}").replaceAll("\0", "--");
    const columns = table.columns.map((column, index) => ({ ...column, index })).filter(({ index }) => shown[index]);
    const line = (cells) => `${cells.map(set).join(" & ")} \\\\`;
    return ["% in the preamble: \\usepackage{booktabs}",
      `\\begin{tabular}{${columns.map((column) => column.number ? "r" : "l").join("")}}`, "\\toprule",
      line(columns.map((column) => column.heading)), "\\midrule",
      ...visible().map((row) => line(columns.map((column) => texts[number(row)][column.index]))),
      "\\bottomrule", "\\end{tabular}", ""].join("\n");
  }

  function reachable() { // one cell is where Tab comes in; the arrow keys go on from there
    all("td[tabindex='0']", body).forEach((cell) => { cell.tabIndex = -1; });
    const cell = visible().flatMap((row) => [...row.cells]).find((cell) => !cell.hidden);
    if (cell) cell.tabIndex = 0;
  }

  function go(event) {
    const cell = event.target.closest("td");
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
    button.addEventListener("click", () => sort(index));
  });
  all("td", body).forEach((cell) => { cell.tabIndex = -1; });
  reachable();
  one(".filter", tools).addEventListener("input", filter);
  one(".baseline", tools)?.addEventListener("change", (event) => choose(event.target.value));
  one(".columns", tools).addEventListener("change", (event) => {
    const index = Number(event.target.value);
    shown[index] = event.target.checked;
    [heads[index], ...rows().map((row) => row.cells[index])].forEach((cell) => { cell.hidden = !shown[index]; });
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
  body.addEventListener("focusin", (event) => describe(event.target, lines(event.target)));
  body.addEventListener("focusout", close);
  body.addEventListener("pointerover", (event) => {
    const cell = event.target.closest("td");
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

// --- plots: all drawn by Plotly --------------------------------------------------------------------------------------

const plot = data.plot;
// Plotly reads text as a little HTML and what is between dollars as a formula: what is data is escaped for it
const text = (value) => value.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("$", "&#36;");

async function plotly() {
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (sign) => sign.charCodeAt(0));
  const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.textContent = await new Response(unpacked).text();
  document.head.append(script);
}

function layout(across, upwards, printed) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => printed ? { "--ink": "#000000", "--rule": "#999999" }[name] ?? "#ffffff" : style.getPropertyValue(name).trim();
  const axis = (title) => ({ title: { text: title }, gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--ink"), automargin: true });
  return {
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: colour("--ink"), family: "system-ui, sans-serif" },
    xaxis: axis(across), yaxis: axis(upwards), margin: { l: 60, r: 20, t: 40, b: 55 }, hovermode: "closest",
    hoverlabel: { bgcolor: colour("--ground"), font: { color: colour("--ink") }, align: "left" },
    showlegend: false, modebar: { bgcolor: "rgba(0,0,0,0)", color: colour("--ink"), activecolor: colour("--link") },
  };
}

const config = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };
const colours = (printed) => !printed && matchMedia("(prefers-color-scheme: dark)").matches
  ? ["#56B4E9", "#E69F00", "#4fd1a5", "#e7a6cb"] : ["#0072B2", "#D55E00", "#007a5a", "#a8467c"];
const symbols = ["circle", "square", "triangle-up", "diamond", "x"];

function scatter(printed = false) {
  const [x, y] = ["across", "upwards"].map((id) => plot.measures[one(`#${id}`).value]);
  const size = one("#input").value;
  const at = plot.names.map((_, index) => index).filter((index) =>
    x.values[index] !== null && y.values[index] !== null && (size === "" || plot.sizes[index] === size));
  const sizes = [...new Set(plot.sizes)];
  const bars = (measure) => ({
    type: "data", symmetric: false, color: layout("", "", printed).font.color, visible: one("#intervals").checked && measure.low.some((end) => end !== null), thickness: 1,
    array: at.map((index) => measure.high[index] === null ? 0 : measure.high[index] - measure.values[index]),
    arrayminus: at.map((index) => measure.low[index] === null ? 0 : measure.values[index] - measure.low[index]),
  });
  const worth = (measure, index) => `${text(measure.name)}: ${measure.values[index]}`
    + (measure.low[index] === null || measure.high[index] === null ? "" : ` (${measure.low[index]} to ${measure.high[index]})`);
  const few = at.length <= 20 && innerWidth > 480;
  const traces = [{
    type: "scatter", mode: few ? "markers+text" : "markers", x: at.map((index) => x.values[index]), y: at.map((index) => y.values[index]),
    error_x: bars(x), error_y: bars(y), cliponaxis: false, textposition: "top center", text: at.map((index) => text(plot.names[index])),
    hovertext: at.map((index) => [`<b>${text(plot.names[index])}</b>`, worth(x, index), worth(y, index),
      ...text(plot.settings[index]).split(/, (?=weights|device)/)].join("<br>")),
    hoverinfo: "text",
    marker: { size: 9, color: at.map((index) => colours(printed)[sizes.indexOf(plot.sizes[index]) % colours(printed).length]),
      symbol: at.map((index) => symbols[sizes.indexOf(plot.sizes[index]) % symbols.length]) },
  }];
  if (one("#front").checked) {
    for (const [number, own] of (size === "" ? sizes : [size]).entries()) {
      const best = plot.fronts[one("#across").value][one("#upwards").value].flat().filter((index) => plot.sizes[index] === own);
      if (best.length < 2) continue;
      traces.unshift({ type: "scatter", mode: "lines", hoverinfo: "skip", x: best.map((index) => x.values[index]), y: best.map((index) => y.values[index]),
        line: { dash: "dash", width: 1.5, shape: x.higher ? "vh" : "hv", color: colours(printed)[(size === "" ? number : sizes.indexOf(size)) % colours(printed).length] } });
    }
  }
  const wanted = (measure) => `${measure.name}, ${measure.higher ? "more" : "less"} is better`;
  const drawn = layout(wanted(x), wanted(y), printed);
  drawn.annotations = at.filter((index) => at.includes(plot.baselines[index]) && plot.baselines[index] !== index && at.length <= 60)
    .map((index) => ({ x: x.values[index], y: y.values[index], ax: x.values[plot.baselines[index]], ay: y.values[plot.baselines[index]],
      xref: "x", yref: "y", axref: "x", ayref: "y", text: "", showarrow: true, arrowhead: 2, arrowwidth: 1, standoff: 6, startstandoff: 6,
      arrowcolor: drawn.font.color }));
  one("#scatter").setAttribute("aria-label", `${y.name} over ${x.name}, ${at.length} networks; the numbers stand in the table of networks`);
  return Plotly.react("scatter", traces, drawn, config);
}

function samples(printed = false) {
  const timed = plot.samples.map((own, index) => [own, index]).filter(([own]) => own.length);
  if (!timed.length) return;
  one("#timed").hidden = false;
  one("#samples").style.height = `${Math.max(12, 3.5 + 3 * timed.length)}rem`;
  const drawn = layout("milliseconds", "", printed);
  drawn.yaxis.autorange = "reversed";
  Plotly.react("samples", timed.map(([own, index]) => ({
    type: "box", orientation: "h", x: own, name: text(plot.names[index]), boxpoints: own.length * timed.length < 5000 ? "all" : "outliers", jitter: 0.6, pointpos: 0,
    marker: { size: 3, opacity: 0.6, color: colours(printed)[0] }, line: { width: 1.5, color: colours(printed)[1] }, fillcolor: "rgba(0,0,0,0)",
    hoverlabel: { namelength: -1 },
  })), drawn, config);
}

async function explore() {
  await plotly();
  one("#plots").hidden = false;
  const options = (select, entries) => select.append(...entries.map(([value, name]) => new Option(name, value)));
  for (const id of ["across", "upwards"]) options(one(`#${id}`), plot.measures.map(({ name }, index) => [index, name]));
  const named = (word, otherwise) => Math.max(otherwise, plot.measures.findIndex(({ name }) => name.startsWith(word)));
  one("#across").value = named("MACs", 0);
  one("#upwards").value = named("time", 1);
  const sizes = [...new Set(plot.sizes)];
  options(one("#input"), [...(sizes.length > 1 ? [["", "all"]] : []), ...sizes.map((size) => [size, size])]);
  for (const control of all("#plots select, #plots input")) control.addEventListener("change", () => scatter());
  const draw = (printed) => { scatter(printed); samples(printed); };
  draw(false);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
  document.documentElement.dataset.drawn = "yes";
}

addEventListener("beforeprint", () => all("main details:not(.columns)").forEach((folded) => { folded.open = true; }));
if (document.getElementById("plots")) explore();

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
  const axis = (title) => ({ title: { text: text(title) }, gridcolor: colour("--rule"), zeroline: false, linecolor: colour("--ink"), automargin: true });
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

let chosenBaseline = null; // a network's row, once one is chosen in the table of networks

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
  const ends = [Math.min(...at.map((index) => x.values[index])), Math.max(...at.map((index) => x.values[index]))];
  const side = (index) => x.values[index] > (ends[0] + ends[1]) / 2 ? "top left" : "top right"; // or the edge cuts names off
  const few = at.length <= 20 && innerWidth > 480;
  const traces = [{
    type: "scatter", mode: few ? "markers+text" : "markers", x: at.map((index) => x.values[index]), y: at.map((index) => y.values[index]),
    error_x: bars(x), error_y: bars(y), cliponaxis: false, textposition: at.map(side), text: at.map((index) => text(plot.names[index])),
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
        line: { dash: "dash", width: 1.5, shape: x.better === "higher" ? "vh" : "hv", color: colours(printed)[(size === "" ? number : sizes.indexOf(size)) % colours(printed).length] } });
    }
  }
  const wanted = (measure) => measure.better ? `${measure.name}, ${measure.better === "higher" ? "more" : "less"} is better` : measure.name;
  const drawn = layout(wanted(x), wanted(y), printed);
  const from = (index) => chosenBaseline === null ? plot.originals[index] : chosenBaseline;
  drawn.annotations = at.filter((index) => at.includes(from(index)) && from(index) !== index && plot.sizes[from(index)] === plot.sizes[index] && at.length <= 60)
    .map((index) => ({ x: x.values[index], y: y.values[index], ax: x.values[from(index)], ay: y.values[from(index)],
      xref: "x", yref: "y", axref: "x", ayref: "y", text: "", showarrow: true, arrowhead: 2, arrowwidth: 1, standoff: 6, startstandoff: 6,
      arrowcolor: drawn.font.color }));
  one("#scatter").setAttribute("aria-label", `${y.name} against ${x.name}, ${at.length} networks; the numbers stand in the table of networks`);
  return Plotly.react("scatter", traces, drawn, config);
}

const MOST_STRIPS = 40; // networks whose samples are drawn: more are too many to look at, and slow

function samples(printed = false) {
  const known = plot.samples.map((own, index) => [own, index]).filter(([own]) => own.length);
  const timed = known.slice(0, MOST_STRIPS);
  if (!timed.length) return;
  one("#timed").hidden = false;
  one("#strips").textContent = timed.length < known.length ? `The first ${timed.length} of ${known.length} networks.` : "";
  one("#samples").style.height = `${Math.max(12, 3.5 + 3 * timed.length)}rem`;
  const drawn = layout("milliseconds", "", printed);
  drawn.yaxis.autorange = "reversed";
  Plotly.react("samples", timed.map(([own, index]) => ({
    type: "box", orientation: "h", x: own, name: text(plot.names[index]), boxpoints: own.length * timed.length < 5000 ? "all" : "outliers", jitter: 0.6, pointpos: 0,
    marker: { size: 3, opacity: 0.6, color: colours(printed)[0] }, line: { width: 1.5, color: colours(printed)[1] }, fillcolor: "rgba(0,0,0,0)",
    hoverlabel: { namelength: -1 },
  })), drawn, config);
}

const drawings = []; // what is drawn: the section that is shown then, and how

function measures() {
  const options = (select, entries) => select.append(...entries.map(([value, name]) => new Option(name, value)));
  for (const id of ["across", "upwards"]) options(one(`#${id}`), plot.measures.map(({ name }, index) => [index, name]));
  const named = (word) => plot.measures.findIndex(({ name }) => name.startsWith(word));
  const across = Math.max(named("MACs"), 0);
  const upwards = ["time", "accuracy", "r(50%)"].map(named).find((index) => index >= 0 && index !== across) ?? (across ? 0 : 1);
  one("#across").value = plot.measures[state.get("across")] ? state.get("across") : across;
  one("#upwards").value = plot.measures[state.get("upwards")] ? state.get("upwards") : upwards;
  for (const id of ["across", "upwards"]) one(`#${id}`).addEventListener("change", ({ target }) => remember(id, target.value));
  const sizes = [...new Set(plot.sizes)];
  options(one("#input"), [...(sizes.length > 1 ? [["", "all"]] : []), ...sizes.map((size) => [size, size])]);
  for (const control of all("#plots select, #plots input")) control.addEventListener("change", () => scatter());
  document.addEventListener("baseline", ({ detail }) => { chosenBaseline = detail; scatter(); });
  drawings.push([one("#plots"), (printed) => { scatter(printed); samples(printed); }]);
}

async function explore() {
  await plotly();
  const draw = (printed) => drawings.forEach(([, drawn]) => drawn(printed));
  for (const [section] of drawings) section.hidden = false;
  draw(false);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => draw(false));
  addEventListener("beforeprint", () => draw(true));
  addEventListener("afterprint", () => draw(false));
  performance.mark("drawn");
  document.documentElement.dataset.drawn = "yes";
}

addEventListener("beforeprint", () => all("main details:not(.columns)").forEach((folded) => { folded.open = true; }));
if (document.getElementById("plots")) measures();

// --- what stands behind a figure: fields side by side with one slider, curves of which one chooses the measure ---------

function made(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

function chosen(caption, entries, change) {
  const select = made("select", {}, ...entries.map(([value, name]) => new Option(name, value)));
  select.addEventListener("change", () => change());
  return [made("label", {}, caption, " ", select), select];
}

function maps(section, own) {
  const share = made("input", { type: "range", min: 1, max: 99, value: 50 });
  const said = made("output");
  const [before, which] = chosen("Weights", [["", "untrained and trained"], ["no", "untrained"], ["yes", "trained"]], () => show());
  const both = new Set(own.fields.map(({ trained }) => trained)).size > 1;
  const worth = (level) => { // of a map's step, the middle
    const part = level / 255, [low, high] = own.ends;
    return own.log ? low * (high / low) ** part : low + (high - low) * part;
  };
  const bar = made("div", { className: "scale" }, made("span", { textContent: own.ends[0].toPrecision(2) }), made("i"),
    made("span", { textContent: own.ends[1].toPrecision(2) }), made("span", { textContent: own.label }));
  one("i", bar).style.background = `linear-gradient(90deg, ${own.colours.map(([at, colour]) => `${colour} ${100 * at}%`).join(", ")})`;
  const shown = own.fields.map((field) => {
    const plot = made("div", { className: "map" }), caption = made("figcaption");
    plot.setAttribute("role", "img");
    return { field, plot, caption, figure: made("figure", {}, made("strong", { textContent: field.name }), plot, caption) };
  });
  section.append(
    made("div", { className: "tools" }, made("label", {}, "Share t of the mass ", share), said, ...(both ? [before] : [])),
    bar, made("div", { className: "maps" }, ...shown.map(({ figure }) => figure)),
    made("p", { className: "note", textContent: "The square is the smallest around the true centre that holds t of the mass; r(t) is its share of the image. Where the rows have its 95 % interval (at 20, 30, 50, 95 and 99 %), it stands beside." }));

  function square({ field, plot, caption }) {
    const t = Number(share.value), half = field.halves[t - 1], [row, column] = field.centre, ends = field.intervals[t];
    const percent = (value) => (100 * value).toPrecision(3);
    const interval = ends ? ` (${percent(ends[0])}–${percent(ends[1])})` : "";
    caption.textContent = `r(${t} %) = ${percent(field.areas[t - 1])}${interval} %`;
    plot.setAttribute("aria-label", `${field.name}: ${caption.textContent}; ${field.settings}`);
    const [height, width] = field.shape.map((side) => side * field.step);
    const edge = (value, side) => Math.max(-0.5, Math.min(value, side - 0.5));
    const place = { type: "rect", x0: edge(column - half, width), x1: edge(column + half, width), y0: edge(row - half, height), y1: edge(row + half, height) };
    return Plotly.relayout(plot, { shapes: [{ ...place, line: { color: "black", width: 4 } }, { ...place, line: { color: "white", width: 2 } }] });
  }

  function show() {
    said.textContent = `t = ${share.value} %`;
    share.setAttribute("aria-valuetext", said.textContent);
    for (const map of shown) {
      map.figure.hidden = which.value !== "" && (which.value === "yes") !== map.field.trained;
      square(map);
      if (map.plot.offsetWidth) Plotly.Plots.resize(map.plot); // what is folded away has no size
    }
  }

  const draw = (printed = false) => {
    for (const { field, plot } of shown) {
      const levels = Uint8Array.from(atob(field.levels), (sign) => sign.charCodeAt(0));
      const [rows, columns] = field.shape;
      const z = Array.from({ length: rows }, (_, row) => Array.from(levels.subarray(row * columns, (row + 1) * columns)));
      const drawn = layout("", "", printed);
      Object.assign(drawn, { margin: { l: 34, r: 4, t: 4, b: 24 }, dragmode: false });
      Object.assign(drawn.xaxis, { range: [-0.5, columns * field.step - 0.5], showgrid: false, nticks: 4, fixedrange: true, automargin: false });
      Object.assign(drawn.yaxis, { range: [rows * field.step - 0.5, -0.5], showgrid: false, nticks: 4, fixedrange: true, automargin: false });
      const at = (index) => index * field.step + (field.step - 1) / 2;
      Plotly.react(plot, [{
        type: "heatmap", z, x: Array.from({ length: columns }, (_, index) => at(index)), y: Array.from({ length: rows }, (_, index) => at(index)),
        zmin: 0, zmax: 255, colorscale: own.colours, showscale: false, hoverinfo: "text",
        text: z.map((line, row) => line.map((level, column) => `${text(field.name)}<br>${at(column)}, ${at(row)}: ${level === 0 ? "≤ " : level === 255 ? "≥ " : ""}${worth(level).toPrecision(2)}<br>${text(field.settings)}`)),
      }, { type: "scatter", mode: "markers", x: [field.centre[1]], y: [field.centre[0]], hoverinfo: "skip",
        marker: { symbol: "cross", size: 9, color: "#56B4E9", line: { color: "black", width: 1 } } }], drawn, { ...config, displayModeBar: false });
    }
    show();
  };
  share.addEventListener("input", show);
  return draw;
}

function curves(section, own) {
  const measures = [...new Set(own.lines.map(({ measure }) => measure))];
  const names = [...new Set(own.lines.map(({ name }) => name))];
  const [first, measure] = chosen("Measure", measures.map((name) => [name, name]), () => draw());
  const [second, network] = chosen("Network", [["", "all"], ...names.map((name, index) => [index, name])], () => draw());
  const plot = made("div", { className: "plot" });
  plot.setAttribute("role", "group");
  section.append(made("div", { className: "tools" }, first, second), plot);
  const dashes = ["solid", "dash", "dot", "dashdot", "longdash"];
  function draw(printed = false) {
    const shown = own.lines.filter((line) => line.measure === measure.value && (network.value === "" || line.name === names[network.value]));
    const drawn = layout(own.across, measure.value, printed);
    Object.assign(drawn, { showlegend: true, legend: { orientation: "h", y: 1.12, itemclick: "toggle" } });
    plot.setAttribute("aria-label", `${measure.value}, ${shown.length} lines`);
    return Plotly.react(plot, shown.map((line, index) => {
      const place = names.indexOf(line.name), palette = colours(printed);
      return { type: "scatter", mode: "lines+markers", x: line.xs, y: line.ys, name: text(line.name), legendgroup: String(place),
        showlegend: shown.findIndex(({ name }) => name === line.name) === index,
        line: { color: palette[place % palette.length], width: 1.3, dash: dashes[Math.floor(place / palette.length) % dashes.length] },
        marker: { size: 4, symbol: symbols[place % symbols.length] }, hoverinfo: "text",
        hovertext: line.xs.map((x, at) => `<b>${text(line.name)}</b><br>${text(line.which)}<br>${text(own.across)} ${x}: ${line.ys[at]}`) };
    }), drawn, config);
  }
  return draw;
}

document.addEventListener("toggle", (event) => { // a plot that was drawn while it was folded away gets its size
  if (event.target.open) all(".js-plotly-plot", event.target).filter((drawn) => drawn.offsetWidth).forEach((drawn) => Plotly.Plots.resize(drawn));
}, true);

for (const section of all(".behind")) {
  const own = data.behind[section.dataset.behind];
  drawings.push([section, (own.kind === "maps" ? maps : curves)(section, own)]);
}
if (drawings.length) explore();

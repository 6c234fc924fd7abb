"use strict";
// Draws the page from the JSON document in #data: tables by the DOM, figures by Plotly.

const data = JSON.parse(document.getElementById("data").textContent);
const { reports, colours } = data;
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");

// ---- numbers ---------------------------------------------------------------------------------
const PREFIXES = [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""],
  [1e-3, "m"], [1e-6, "\u00b5"], [1e-9, "n"], [1e-12, "p"]];

function engineering(value, unit) {
  if (value === 0) return `0 ${unit}`;
  const [scale, prefix] = PREFIXES.find(([s]) => Math.abs(value) >= s) || PREFIXES.at(-1);
  return `${(value / scale).toPrecision(4)} ${prefix}${unit}`;
}

const plain = (value) => Number.isInteger(value)
  ? value.toLocaleString("en").replaceAll(",", "\u202f")
  : String(Number(value.toPrecision(5)));
const percent = (value) => `${(100 * value).toFixed(1)} %`;

// One column of a table: heading, how to get the value of a row, how to show it.
const text = (label, get) => ({ label, get, text: true, show: (v) => v ?? "" });
const number = (label, get, unit) => ({
  label, get, show: (v) => (v == null ? "" : unit ? engineering(v, unit) : plain(v)),
});
const kept = (columns, rows) => columns.filter((c) => rows.some((r) => c.get(r) != null));

// ---- tables ----------------------------------------------------------------------------------
function element(tag, properties = {}, children = []) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function cellOf(column, row, first) {
  const value = column.get(row);
  const cell = element(first ? "th" : "td", { className: column.text ? "text" : "" });
  if (first) cell.scope = "row";
  if (column.share && value != null) {
    const bar = element("span", { className: "share" });
    bar.style.width = `${(4 * value).toFixed(2)}rem`;
    cell.append(bar);
  }
  const shown = column.show(value);
  if (shown.length > 60) cell.classList.add("long");
  cell.append(shown);
  return cell;
}

function compare(column, a, b) {
  const [x, y] = [column.get(a), column.get(b)];
  if (x == null || y == null) return (x == null) - (y == null);
  return typeof x === "number" && typeof y === "number" ? x - y : String(x).localeCompare(String(y));
}

/** Fill a table; its headings sort when there is more than one row. */
function fillTable(table, columns, rows, sorted = { index: -1, up: false }) {
  const order = [...rows];
  if (sorted.index >= 0 && sorted.index < columns.length) {
    order.sort((a, b) => (sorted.up ? 1 : -1) * compare(columns[sorted.index], a, b));
  }
  const heads = columns.map((column, index) => {
    const head = element("th", { scope: "col", className: column.text ? "text" : "" });
    if (rows.length < 2) {
      head.append(column.label);
      return head;
    }
    const button = element("button", { type: "button", textContent: column.label });
    button.addEventListener("click", () => {
      const up = sorted.index === index ? !sorted.up : Boolean(column.text);
      Object.assign(sorted, { index, up });
      fillTable(table, columns, rows, sorted);
      table.querySelectorAll("thead button")[index].focus();
    });
    if (sorted.index === index) head.ariaSort = sorted.up ? "ascending" : "descending";
    head.append(button);
    return head;
  });
  const body = order.map((row) => element("tr", {}, columns.map((c, i) => cellOf(c, row, i === 0))));
  table.replaceChildren(
    element("thead", {}, [element("tr", {}, heads)]), element("tbody", {}, body));
}

// ---- figures ---------------------------------------------------------------------------------
function theme() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  return { ink: read("--ink"), faint: read("--faint"), line: read("--line"), ground: read("--ground") };
}

function draw(id, traces, layout) {
  const { ink, line, ground } = theme();
  const axis = { gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true };
  const narrow = byId(id).clientWidth < 560;
  const whole = {
    paper_bgcolor: ground, plot_bgcolor: ground,
    font: { color: ink, family: "system-ui, sans-serif", size: narrow ? 11 : 13 },
    height: byId(id).clientHeight, margin: { l: 8, r: 8, t: 8, b: 8 }, hoverlabel: { namelength: -1 },
    legend: {
      orientation: "h", y: -0.22, yanchor: "top", x: 0, traceorder: "normal", font: { size: narrow ? 10 : 12 },
    },
    ...layout, xaxis: { ...axis, ...layout.xaxis }, yaxis: { ...axis, ...layout.yaxis },
  };
  Plotly.react(id, traces, whole, {
    responsive: true, displaylogo: false, displayModeBar: Boolean(layout.tools) && !narrow,
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
  });
}

const barHeight = (bars, extra) => `${Math.max(200, 44 * bars + extra)}px`;

function drawComparison() {
  const measure = measures[byId("comparison-measure").value];
  const shown = reports.filter((r) => measure.get(r) != null).reverse();
  byId("comparison-figure").style.height = barHeight(shown.length, 90);
  draw("comparison-figure", [{
    type: "bar", orientation: "h", x: shown.map(measure.get), y: shown.map((r) => r.label),
    text: shown.map((r) => measure.show(measure.get(r))), textposition: "auto", cliponaxis: false,
    hovertemplate: "%{y}: %{text}<extra></extra>", marker: { color: colours.series[0] },
  }], {
    xaxis: { title: { text: `${measure.label} (${measure.unit || "cycles"})` }, rangemode: "tozero", nticks: 6 },
    yaxis: { type: "category", ticksuffix: " " }, showlegend: false,
  });
}

const ridge = (roof) => roof.operations_per_s / roof.bytes_per_s;

function roofTrace(roof, index, low, high) {
  const ends = [low, ridge(roof), high];
  return {
    type: "scatter", mode: "lines", name: roof.name,
    x: ends, y: ends.map((i) => Math.min(i * roof.bytes_per_s, roof.operations_per_s)),
    line: { color: theme().faint, dash: ["solid", "dash", "dot", "dashdot"][index % 4], width: 1.8 },
    hovertemplate: `${roof.name}: ${engineering(roof.operations_per_s, "OP/s")}, ` +
      `${engineering(roof.bytes_per_s, "B/s")}<extra></extra>`,
  };
}

function drawRoofline() {
  const report = reports[byId("roofline-report").value];
  const total = report.totals.seconds;
  const marks = report.rows.filter((r) => r.operations > 0 && r.bytes > 0 && r.seconds > 0);
  const intensity = marks.map((r) => r.operations / r.bytes);
  const corners = [...intensity, ...report.roofs.map(ridge)];
  const low = Math.min(...corners) / 3, high = Math.max(...corners) * 4;
  const kinds = [...new Set(marks.map((r) => r.kind))];
  const traces = report.roofs.map((roof, i) => roofTrace(roof, i, low, high));
  for (const kind of kinds) {
    const rows = marks.filter((r) => r.kind === kind);
    traces.push({
      type: "scatter", mode: "markers", name: kind,
      x: rows.map((r) => r.operations / r.bytes), y: rows.map((r) => r.operations / r.seconds),
      marker: {
        color: colours.kinds[kind] || colours.series.at(-1), opacity: 0.8, line: { width: 1, color: theme().ground },
        size: rows.map((r) => 8 + 36 * Math.sqrt(r.seconds / total)),
      },
      text: rows.map((r) => `${r.op}<br>${percent(r.seconds / total)} of the time, ${r.bound}-bound`),
      hovertemplate: "%{text}<br>%{x:.3~g} OP/B, %{y:.3~s}OP/s<extra></extra>",
    });
  }
  const log = { type: "log", exponentformat: "SI", dtick: 1 };
  draw("roofline-figure", traces, {
    tools: true, margin: { l: 8, r: 8, t: 30, b: 8 },
    xaxis: { ...log, title: { text: "operations a byte" } },
    yaxis: { ...log, title: { text: "operations a second" } },
  });
  const left = report.rows.length - marks.length;
  byId("roofline-note").textContent = "The size of a mark is its share of the time." +
    (left ? ` Ops without operations, traffic or time of their own are not drawn: ${left}.` : "");
}

function drawCauses() {
  const share = byId("causes-share").checked;
  const shown = [...reports].reverse();
  const names = [...new Set(reports.flatMap((r) => r.rungs.map((x) => x.name)))];
  byId("causes-figure").style.height = barHeight(shown.length, 150);
  const traces = names.map((name, index) => {
    const seconds = shown.map((r) => r.rungs.find((x) => x.name === name)?.seconds ?? 0);
    return {
      type: "bar", orientation: "h", name: name.replaceAll("_", " "), y: shown.map((r) => r.label),
      x: seconds.map((s, i) => (share ? (100 * s) / shown[i].totals.seconds : s)),
      text: seconds.map((s) => engineering(s, "s")), textposition: "none",
      hovertemplate: `%{y}: ${name.replaceAll("_", " ")} %{text}<extra></extra>`,
      marker: { color: colours.causes[name] || colours.series[index % colours.series.length] },
    };
  });
  draw("causes-figure", traces, {
    barmode: "stack", xaxis: { title: { text: share ? "% of the time" : "seconds" }, nticks: 6 },
    yaxis: { type: "category", ticksuffix: " " },
  });
}

// ---- what is shown ---------------------------------------------------------------------------
const total = (key) => (report) => report.totals[key];
const energy = (report) => report.totals.energy_pj && report.totals.energy_pj.total * 1e-12;
const measures = [
  { label: "time", unit: "s", get: total("seconds"), show: (v) => engineering(v, "s") },
  { label: "cycles", unit: "", get: total("cycles"), show: plain },
  { label: "energy", unit: "J", get: energy, show: (v) => engineering(v, "J") },
  { label: "bytes moved", unit: "B", get: total("bytes"), show: (v) => engineering(v, "B") },
].filter((m) => reports.some((r) => m.get(r) != null));

function summaryColumns() {
  const fastest = Math.min(...reports.map((r) => r.totals.seconds));
  return kept([
    text("run", (r) => r.label), number("time", total("seconds"), "s"),
    { label: "of the fastest", get: (r) => (reports.length > 1 ? r.totals.seconds / fastest : null), show: (v) => `${v.toFixed(2)}\u00d7` },
    number("cycles", total("cycles")), number("energy", energy, "J"),
    number("operations", total("operations"), "OP"), number("bytes moved", total("bytes"), "B"),
    number("memory", total("memory_bytes"), "B"),
    { label: "memory-bound", get: (r) => r.memory_share, show: (v) => (v == null ? "" : percent(v)) },
    text("fidelity", (r) => r.fidelity.replaceAll("_", " ")),
  ], reports);
}

function opColumns(report) {
  const sum = report.totals.seconds;
  return kept([
    text("op", (r) => r.op), text("kind", (r) => r.kind), number("count", (r) => r.count),
    { label: "share", get: (r) => r.seconds / sum, show: percent, share: true },
    number("time", (r) => r.seconds, "s"), number("cycles", (r) => r.cycles), text("bound", (r) => r.bound),
    number("operations", (r) => r.operations, "OP"), number("bytes", (r) => r.bytes, "B"),
    number("weights", (r) => r.weight_bytes, "B"), number("activations", (r) => r.activation_bytes, "B"),
    number("KV", (r) => r.kv_bytes, "B"),
    number("energy", (r) => (r.energy_pj == null ? null : r.energy_pj * 1e-12), "J"),
  ], report.rows);
}

const opsSorted = { index: 3, up: false };
function drawOps() {
  const report = reports[byId("ops-report").value];
  const words = byId("ops-filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = report.rows.filter((r) =>
    words.every((w) => `${r.op} ${r.kind} ${r.bound}`.toLowerCase().includes(w)));
  fillTable(byId("ops-table"), opColumns(report), rows, opsSorted);
  byId("ops-count").textContent = `${rows.length} of ${report.rows.length} ops`;
}

function extraTable(table, index) {
  const id = `table-${index}`;
  const numeric = (i) => table.rows.every((r) => r[i] == null || typeof r[i] === "number");
  const columns = table.columns.map((label, i) =>
    (numeric(i) ? number(label, (r) => r[i]) : text(label, (r) => (r[i] == null ? "" : String(r[i])))));
  const node = element("table");
  fillTable(node, columns, table.rows);
  const region = element("div", { className: "scroll", tabIndex: 0 }, [node]);
  region.setAttribute("role", "region");
  region.setAttribute("aria-labelledby", `${id}-title`);
  const section = element("section", { id }, [
    element("h2", { id: `${id}-title`, textContent: table.title }), region]);
  if (table.note) section.append(element("p", { className: "note", textContent: table.note }));
  byId(table.leading ? "leading" : "trailing").append(section);
}

function choices(id, labels, onChange) {
  const select = byId(id);
  select.replaceChildren(...labels.map((label, value) => element("option", { value, textContent: label })));
  select.addEventListener("change", onChange);
}

function start() {
  data.tables.forEach(extraTable);
  const labels = reports.map((r) => r.label);
  if (reports.length) fillTable(byId("summary-table"), summaryColumns(), reports);
  choices("comparison-measure", measures.map((m) => m.label), drawComparison);
  choices("roofline-report", labels, drawRoofline);
  choices("ops-report", labels, drawOps);
  byId("causes-share").addEventListener("change", drawCauses);
  byId("ops-filter").addEventListener("input", drawOps);
  if (reports.length < 2) byId("comparison").remove();
  if (!reports.length) for (const id of ["summary", "roofline", "causes", "ops"]) byId(id).remove();
  for (const section of document.querySelectorAll("main section")) {
    byId("contents").append(element("a", {
      href: `#${section.id}`, textContent: section.querySelector("h2").textContent }));
  }
  const redraw = () => {
    if (!reports.length) return;
    if (reports.length > 1) drawComparison();
    drawRoofline();
    drawCauses();
  };
  redraw();
  if (reports.length) drawOps();
  dark.addEventListener("change", redraw);
  let waiting;
  addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(redraw, 150); });
}

start();

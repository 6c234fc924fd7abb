"use strict";
// Draws a serving run from the JSON document in #data: tables by the DOM, figures by Plotly.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const COLOURS = ["#1f6fb2", "#c2571a", "#2f8f5b", "#8a4fa3"];
const { figures, timeline } = data;

// ---- numbers ---------------------------------------------------------------------------------
const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "\u00b5"]];

function engineering(value, unit) {
  if (value === 0) return `0 ${unit}`;
  const [scale, prefix] = PREFIXES.find(([s]) => Math.abs(value) >= s) || PREFIXES.at(-1);
  return `${Number((value / scale).toPrecision(4))} ${prefix}${unit}`;
}

function seconds(value) {
  if (value < 1) return engineering(value, "s");
  return `${Number(value.toPrecision(4)).toLocaleString("en").replaceAll(",", "\u202f")} s`;
}

const plain = (value) => (Number.isInteger(value)
  ? value.toLocaleString("en").replaceAll(",", "\u202f")
  : String(Number(value.toPrecision(4))));
const percent = (value) => `${(100 * value).toFixed(1)} %`;

// ---- tables ----------------------------------------------------------------------------------
function fillTable(id, heads, rows) {
  const make = (name, text, index) => {
    const cell = document.createElement(name);
    cell.textContent = text;
    if (index === 0) cell.className = "text";
    return cell;
  };
  const line = (name, cells) => {
    const row = document.createElement("tr");
    row.append(...cells.map((text, index) => make(index === 0 ? "th" : name, text, index)));
    row.firstChild.scope = name === "th" ? "col" : "row";
    return row;
  };
  const head = document.createElement("thead");
  const body = document.createElement("tbody");
  if (heads.length) head.append(line("th", heads));
  body.append(...rows.map((cells) => line("td", cells)));
  byId(id).replaceChildren(head, body);
}

const SHOWN = [
  ["throughput_tokens_per_s", "Throughput", (v) => `${plain(v)} tokens/s`],
  ["throughput_per_dollar", "Tokens a dollar", (v) => engineering(v, "")],
  ["usd_per_hour", "Rent", (v) => `${plain(v)} $/h`],
  ["goodput_requests_per_s", "Requests within the limits", (v) => `${plain(v)} /s`],
  ["batch_mean", "Mean batch", plain],
  ["utilisation", "Instances busy", percent],
  ["makespan_s", "First arrival to last token", seconds],
  ["energy_joules", "Energy while busy", (v) => engineering(v, "J")],
  ["preemptions", "KV lost or evicted, times", plain],
  ["most_in_flight", "Most requests in flight", plain],
  ["step_time_error", "Error of interpolated step times", (v) => `${(100 * v).toPrecision(2)} %`],
];
const COUNTED = [["requests", "Requests"], ["unfinished", "Never finished"],
  ["tokens", "Tokens generated"], ["prompt_tokens", "Prompt tokens computed"]];

function drawTables() {
  fillTable("figures", [], [
    ...COUNTED.map(([key, label]) => [label, plain(figures.counts[key])]),
    ...SHOWN.filter(([key]) => figures[key] != null)
      .map(([key, label, show]) => [label, show(figures[key])]),
  ]);
  const names = { time_to_first_token_s: "To the first token", time_between_tokens_s:
    "Between tokens", response_s: "To the last token" };
  fillTable("latencies", ["", "mean", "p50", "p90", "p99", "limit"],
    Object.entries(names).map(([key, label]) => [label,
      ...["mean", "p50", "p90", "p99"].map((q) => seconds(figures[key][q])),
      data.limits[key] ? seconds(data.limits[key]) : "none"]));
  fillTable("contexts", ["prompt tokens", "requests", "first token p50", "p99",
    "between tokens p50", "p99"], data.by_context.map((row) => [
    `${plain(row.from)} to ${plain(2 * row.from - 1)}`, plain(row.requests),
    seconds(row.first_p50), seconds(row.first_p99), seconds(row.between_p50),
    seconds(row.between_p99)]));
  fillTable("instances", ["instance", "role", "KV tokens", "busy", "down", "iterations", "tokens"],
    data.instances.map((row) => [row.instance, row.role, plain(row.kv_tokens),
      seconds(row.busy_s), seconds(row.down_s), plain(row.iterations), plain(row.tokens)]));
  byId("failures-section").hidden = !data.failures.length;
  fillTable("failures", ["device", "lost at", "for", "requests hit"], data.failures.map((row) => [
    row.device, seconds(row.at_s), row.for_s == null ? "good" : seconds(row.for_s),
    plain(row.requests_hit)]));
}

// ---- figures ---------------------------------------------------------------------------------
function layout(more) {
  const style = getComputedStyle(document.documentElement);
  const [ink, line] = ["--ink", "--line"].map((name) => style.getPropertyValue(name).trim());
  const axis = { gridcolor: line, zerolinecolor: line, automargin: true };
  return {
    paper_bgcolor: "transparent", plot_bgcolor: "transparent",
    font: { color: ink, family: "system-ui, sans-serif", size: 13 },
    margin: { l: 48, r: 12, t: 36, b: 40 }, hovermode: "x unified", showlegend: true,
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 0 },
    ...more, xaxis: { ...axis, ...more.xaxis }, yaxis: { ...axis, ...more.yaxis },
  };
}

const OPTIONS = { displayModeBar: false, responsive: true };

function lost() {
  const end = timeline.time_s.at(-1) + timeline.interval_s[0];
  return data.failures.map((row) => ({
    type: "rect", xref: "x", yref: "paper", x0: row.at_s,
    x1: row.for_s == null ? end : row.at_s + row.for_s, y0: 0, y1: 1, line: { width: 0 },
    fillcolor: "#c0392b", opacity: 0.15,
  }));
}

const TIMELINES = [
  ["Requests", "requests", [["running", "running"], ["waiting", "waiting"]]],
  ["Tokens", "tokens/s", [["tokens_per_s", "generated"], ["prompt_tokens_per_s", "of prompts"]]],
  ["Arrivals", "requests/s", [["arrivals_per_s", "arrived"], ["finished_per_s", "finished"]]],
  ["Shares", "share", [["kv_used", "KV memory used"], ["busy", "instances busy"]]],
];

function drawTimelines() {
  const home = byId("timelines");
  const middle = timeline.time_s.map((t, k) => t + timeline.interval_s[k] / 2);
  TIMELINES.forEach(([title, unit, series]) => {
    const id = `timeline-${title.toLowerCase()}`;
    if (!byId(id)) {
      const node = Object.assign(document.createElement("div"), { id, className: "figure" });
      node.setAttribute("role", "img");
      node.setAttribute("aria-label", `${title} over time`);
      home.append(node);
    }
    const traces = series.map(([key, name], k) => ({
      x: middle, y: timeline[key], name, mode: "lines", line: { color: COLOURS[k], width: 1.5 },
    }));
    const top = title === "Shares" ? { range: [0, 1.03], tickformat: ".0%" } : { rangemode: "tozero" };
    Plotly.react(id, traces, layout({
      height: 260, shapes: lost(), xaxis: { title: { text: "time, s" } },
      yaxis: { title: { text: unit }, ...top },
    }), OPTIONS);
  });
  byId("timeline-note").textContent = `Means over intervals of ${seconds(timeline.interval_s[0])}.${
    data.failures.length ? " A device is missing where the ground is red." : ""}`;
}

function drawDistribution() {
  const key = byId("distribution").value;
  const values = data.distributions[key];
  const shares = values.map((_, k) => k / Math.max(values.length - 1, 1));
  const limit = data.limits[key];
  const shapes = limit ? [{ type: "line", x0: limit, x1: limit, yref: "paper", y0: 0, y1: 1,
    line: { color: COLOURS[1], dash: "dash" } }] : [];
  const scaled = byId("logarithmic").checked && values.at(-1) > 0;
  const shown = scaled ? values.map((v) => (v > 0 ? v : null)) : values;
  Plotly.react("distribution-figure", [{ x: shown, y: shares, mode: "lines", name: "requests",
    line: { color: COLOURS[0], shape: "hv" } }], layout({
    height: 300, showlegend: false, shapes,
    xaxis: { title: { text: "seconds" }, type: scaled ? "log" : "linear" },
    yaxis: { title: { text: "share of requests" }, tickformat: ".0%", range: [0, 1.03] },
  }), OPTIONS);
}

const CHOICES = { time_to_first_token_s: "time to the first token", time_between_tokens_s:
  "mean time between a request's tokens", response_s: "time to the last token",
queue_s: "time in the queue" };
byId("distribution").append(...Object.entries(CHOICES).map(([key, label]) => new Option(label, key)));
byId("distribution").addEventListener("change", drawDistribution);
byId("logarithmic").addEventListener("change", drawDistribution);

function draw() {
  drawTimelines();
  drawDistribution();
}
drawTables();
draw();
dark.addEventListener("change", draw);

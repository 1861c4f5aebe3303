// What the pages do better with a script: charts that answer, searches as one types, live parts, and lit ways in graphs.
// Without it everything is still there: charts are pictures, searches have a button, graphs are links.
"use strict";

// The records' charts use one palette: the server has them in that of the theme.
const darkness = matchMedia("(prefers-color-scheme: dark)");
const inTheme = (address) => `${address}?theme=${darkness.matches ? "dark" : "light"}`;

// How long a chart's place may be without one, before the server is asked for a picture of it.
const PATIENCE_MS = 400;

let library;
function charts() {
  library ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/static/vega.js";
    script.type = "module";
    script.onload = () => resolve(window.vegaEmbed);
    script.onerror = reject;
    document.head.append(script);
  });
  return library;
}

async function drawChart(place) {
  if (!place.querySelector("svg, img")) place.replaceChildren("Drawing…");
  const late = setTimeout(showPicture, PATIENCE_MS, place);
  let spec, embed;
  try {
    [spec, embed] = await Promise.all([fetch(inTheme(place.dataset.chart)).then((answer) => answer.json()), charts()]);
  } finally {
    clearTimeout(late);
  }
  spec.width = "container";
  spec.autosize = { type: "fit-x", contains: "padding" };
  // `ast`: expressions are interpreted, so that the content security policy needs no `unsafe-eval`.
  const options = { ast: true, actions: false, defaultStyle: false, renderer: "svg", tooltip: { disableDefaultStyle: true } };
  await embed(place, spec, options);
  place.dataset.drawn = "yes";
}

// The same chart as the server draws it: where the library is late, or fails.
function showPicture(place) {
  if (place.querySelector("svg, img")) return;
  const picture = new Image();
  picture.alt = place.getAttribute("aria-label");
  picture.onerror = () => { if (picture.isConnected) place.textContent = "This chart could not be drawn."; };
  picture.src = inTheme(place.dataset.picture);
  place.replaceChildren(picture);
}

function drawCharts(root) {
  const places = [...root.querySelectorAll("[data-chart]:not([data-drawn])")];
  if (!places.length) return;
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries.filter((one) => one.isIntersecting)) {
      seen.unobserve(entry.target);
      drawChart(entry.target).catch(() => showPicture(entry.target));
    }
  }, { rootMargin: "300px" });
  for (const place of places) seen.observe(place);
}

async function part(address, id) {
  const answer = await fetch(address, { headers: { accept: "text/html" } });
  if (!answer.ok) return null;
  return new DOMParser().parseFromString(await answer.text(), "text/html").getElementById(id);
}

function put(id, fresh) {
  const old = document.getElementById(id);
  if (!old || !fresh) return;
  old.replaceWith(fresh);
  begin(fresh);
}

function searchAsOneTypes(form) {
  let waiting, latest = 0;
  const search = async () => {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const address = `${form.getAttribute("action")}?${query}`, mine = ++latest;
    const fresh = await part(address, form.dataset.search);
    if (mine !== latest) return;
    history.replaceState(null, "", address);
    put(form.dataset.search, fresh);
  };
  form.addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(search, 120); });
  form.addEventListener("submit", (event) => { event.preventDefault(); search(); });
}

function liveParts() {
  const address = document.body.dataset.events;
  if (!address) return;
  let first = true;
  const source = new EventSource(address);
  source.onmessage = async () => {
    if (first) { first = false; return; }
    if (document.activeElement?.closest("#live form, #live details")) return;
    put("live", await part(location.href, "live"));
  };
  addEventListener("pagehide", () => source.close());
}

// The way to a box and from it, as far as it goes.
function lightGraph(graph) {
  const boxes = new Map([...graph.querySelectorAll(".box")].map((box) => [box.dataset.number, box]));
  const edges = [...graph.querySelectorAll(".edge")];
  const reach = (start, side) => {
    const found = new Set([start]), waiting = [start];
    while (waiting.length) {
      for (const next of (boxes.get(waiting.pop()).dataset[side] || "").split(" ").filter(Boolean)) {
        if (!found.has(next)) { found.add(next); waiting.push(next); }
      }
    }
    return found;
  };
  const light = (number) => {
    const lit = number === null ? new Set() : new Set([...reach(number, "before"), ...reach(number, "after")]);
    for (const [name, box] of boxes) {
      box.classList.toggle("lit", lit.has(name));
      box.classList.toggle("dim", number !== null && !lit.has(name));
    }
    for (const edge of edges) {
      const on = lit.has(edge.dataset.source) && lit.has(edge.dataset.target);
      edge.classList.toggle("lit", on);
      edge.classList.toggle("dim", number !== null && !on);
    }
  };
  for (const [number, box] of boxes) {
    for (const event of ["mouseenter", "focusin"]) box.addEventListener(event, () => light(number));
    for (const event of ["mouseleave", "focusout"]) box.addEventListener(event, () => light(null));
  }
}

function begin(root) {
  drawCharts(root);
  for (const place of root.querySelectorAll("[data-load]")) {
    part(place.dataset.load, "part").then((fresh) => { if (fresh) place.replaceChildren(...fresh.childNodes); });
  }
  for (const form of root.querySelectorAll("form[data-search]")) searchAsOneTypes(form);
  for (const graph of root.querySelectorAll(".graph")) {
    lightGraph(graph);
    const chosen = graph.querySelector(".chosen");
    if (chosen) graph.scrollLeft += chosen.getBoundingClientRect().right - graph.getBoundingClientRect().right + graph.clientWidth / 4;
  }
  for (const choice of root.querySelectorAll("select[data-go]")) choice.addEventListener("change", () => choice.form.submit());
}

darkness.addEventListener("change", () => {
  for (const place of document.querySelectorAll("[data-drawn]")) delete place.dataset.drawn;
  for (const picture of document.querySelectorAll("[data-picture] img")) picture.src = inTheme(picture.closest("[data-picture]").dataset.picture);
  drawCharts(document);
});
addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.closest("input, select, textarea")) return;
  const field = document.querySelector("input[type=search]");
  if (field) { event.preventDefault(); field.focus(); }
});
begin(document);
liveParts();

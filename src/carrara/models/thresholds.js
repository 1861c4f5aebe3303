"use strict";
// What each threshold would give, from counts that the page has already; the least cost is looked up among them.
for (const explorer of document.querySelectorAll(".explorer")) {
  const points = JSON.parse(explorer.dataset.points);
  const [slider, fp, fn] = explorer.querySelectorAll("input");
  const cells = Object.fromEntries([...explorer.querySelectorAll("[data-of]")].map((cell) => [cell.dataset.of, cell]));
  const share = (part, whole) => (whole > 0 ? part / whole : NaN);
  const figure = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "—");
  const cost = (p) => share(p.fp * fp.value + p.fn * fn.value, p.tp + p.fp + p.fn + p.tn);
  const show = () => {
    const p = points[slider.value];
    explorer.querySelector("output").textContent = p.threshold.toFixed(2);
    for (const name of ["tp", "fp", "fn", "tn"]) cells[name].textContent = Math.round(p[name]).toLocaleString("en");
    cells.precision.textContent = figure(share(p.tp, p.tp + p.fp), 3);
    cells.recall.textContent = figure(share(p.tp, p.tp + p.fn), 3);
    cells.F1.textContent = figure(share(2 * p.tp, 2 * p.tp + p.fp + p.fn), 3);
    cells.predicted.textContent = figure(100 * share(p.tp + p.fp, p.tp + p.fp + p.fn + p.tn), 1) + " %";
    cells.cost.textContent = figure(cost(p), 4);
    cells.best.textContent = points.reduce((a, b) => (cost(b) < cost(a) ? b : a)).threshold.toFixed(2);
  };
  for (const input of [slider, fp, fn]) input.addEventListener("input", show);
  show();
}

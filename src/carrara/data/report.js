const columns = [...document.querySelectorAll(".column")];
const search = document.getElementById("search");
const only = document.getElementById("only");
const shown = document.getElementById("shown");
function choose() {
  const wanted = search.value.trim().toLowerCase();
  for (const column of columns) {
    const named = column.dataset.name.toLowerCase().includes(wanted);
    column.hidden = !named || (only.checked && column.dataset.anomalies === "0");
  }
  shown.textContent = columns.filter((column) => !column.hidden).length;
}
search.addEventListener("input", choose);
only.addEventListener("change", choose);
document.getElementById("densities").addEventListener("change", (event) => {
  document.body.classList.toggle("by-quantiles", event.target.checked);
});

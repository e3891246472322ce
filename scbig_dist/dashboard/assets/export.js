// The exported file: a section per page by its #address, figures drawn when they are first seen, tables sorted by a click.
(function () {
  "use strict";
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const theme = () => (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = theme();

  function draw(section) {
    section.querySelectorAll(".graph").forEach((node) => {
      if (node.dataset.drawn === theme()) { return; }
      node.dataset.drawn = theme();
      const figure = figures[node.id];
      const layout = Object.assign({}, figure.layout, { template: window.scbigTemplate(theme()), autosize: true });
      window.Plotly.react(node, window.scbigTraces(figure.data, theme()), layout, { displaylogo: false, responsive: true });
      if (!node.dataset.follows) {
        node.dataset.follows = "yes";
        node.on("plotly_click", (event) => {
          const name = event.points[0] && event.points[0].customdata;
          const target = section.dataset.study + "/trial/" + name;
          if (typeof name === "string" && document.getElementById(target)) { window.location.hash = encodeURI(target); }
        });
      }
    });
  }

  function show() {
    let id = window.location.hash.slice(1);
    try { id = decodeURIComponent(id); } catch (error) { /* as it stands */ }
    const sections = Array.from(document.querySelectorAll("section"));
    const chosen = document.getElementById(id) || sections[0];
    sections.forEach((section) => { section.hidden = section !== chosen; });
    document.querySelectorAll(".links a").forEach((a) => { a.className = decodeURIComponent(a.hash.slice(1)) === chosen.id ? "on" : ""; });
    document.title = chosen.dataset.title + " · " + chosen.dataset.study + " · scbig";
    draw(chosen);
    window.scrollTo(0, 0);
  }

  function sort(th) {
    const table = th.closest("table"), place = Array.from(th.parentNode.children).indexOf(th);
    const up = th.dataset.order !== "up";
    table.querySelectorAll("th").forEach((other) => { delete other.dataset.order; });
    th.dataset.order = up ? "up" : "down";
    const key = (row) => row.children[place].textContent.replace(/\u2212/g, "-");
    const number = (text) => Number(text.replace(/,/g, ""));
    const rows = Array.from(table.tBodies[0].rows);
    rows.sort((a, b) => {
      const x = key(a), y = key(b);
      if ((x === "–") !== (y === "–")) { return x === "–" ? 1 : -1; }
      const byNumber = number(x) - number(y);
      return (Number.isNaN(byNumber) ? x.localeCompare(y) : byNumber) * (up ? 1 : -1);
    });
    rows.forEach((row) => table.tBodies[0].appendChild(row));
  }

  document.addEventListener("click", (event) => {
    const th = event.target.closest(".sortable th"), save = event.target.closest("[data-save]");
    if (th) { sort(th); }
    if (save) {
      const figure = save.closest("figure"), graph = figure.querySelector(".graph");
      const page = getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
      window.Plotly.downloadImage({ data: graph.data, layout: Object.assign({}, graph.layout, { paper_bgcolor: page }) },
        { format: save.dataset.save, filename: figure.querySelector("h3").textContent.replace(/[^\w.-]+/g, "-"), width: graph.clientWidth, height: graph.clientHeight, scale: 2 });
    }
  });
  dark.addEventListener("change", () => { document.documentElement.dataset.theme = theme(); show(); });
  window.addEventListener("hashchange", show);
  show();
})();

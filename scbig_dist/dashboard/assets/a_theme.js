// Ink, grid and background of every figure, for a light and a dark page; shared by the live page and the exported file.
(function () {
  "use strict";
  const INK = {
    light: { ink: "#1c2126", soft: "#5b6570", grid: "rgba(120,132,144,0.22)", line: "#c5ccd3", page: "#ffffff", back: "rgba(0,0,0,0)", hover: "#ffffff" },
    dark: { ink: "#e6e9ec", soft: "#a3adb7", grid: "rgba(150,162,174,0.18)", line: "#46505a", page: "#12161a", back: "rgba(0,0,0,0)", hover: "#232a31" },
  };

  function template(name) {
    const c = INK[name];
    const font = { family: 'system-ui, -apple-system, "Segoe UI", Roboto, sans-serif', size: 12, color: c.soft };
    const axis = { gridcolor: c.grid, linecolor: c.line, zeroline: false, showline: true, ticks: "outside", ticklen: 4, tickcolor: c.line,
                   title: { font: { size: 12, color: c.soft }, standoff: 8 }, tickfont: { size: 11, color: c.soft }, automargin: true };
    return { layout: {
      font: font, paper_bgcolor: c.back, plot_bgcolor: c.back, xaxis: axis, yaxis: axis,
      legend: { bgcolor: c.back, font: { size: 12, color: c.ink } },
      hoverlabel: { bgcolor: c.hover, bordercolor: c.line, font: { color: c.ink, size: 12 }, align: "left" },
      annotationdefaults: { bgcolor: c.page, borderpad: 1 },  // lines pass beneath labels
      modebar: { bgcolor: c.back, color: c.soft, activecolor: c.ink },
    } };
  }

  window.scbigTemplate = template;
  // On a dark page the darkest of the colours is taken a step lighter.
  window.scbigTraces = function (traces, name) {
    return name === "dark" ? JSON.parse(JSON.stringify(traces).replaceAll("#0072b2", "#4aa8e0")) : traces;
  };
})();

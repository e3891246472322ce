// The two large scripts, beside the page instead of before it. Addresses stand in the page's <meta> tags
// (dashboard/index.py).
(function () {
  "use strict";
  const address = (name) => { const tag = document.querySelector("meta[name=" + name + "]"); return tag && tag.content; };
  const loading = {};
  function load(url) {
    loading[url] = loading[url] || new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url; script.async = true; script.onload = resolve; script.onerror = reject;
      document.head.appendChild(script);
    });
    return loading[url];
  }

  // As Dash's own links do it.
  window.scbigGo = function (href) {
    window.history.pushState({}, "", href);
    window.dispatchEvent(new CustomEvent("_dashprivate_pushstate"));
    window.scrollTo(0, 0);
  };

  // Dash's graphs wait for whatever `window.Plotly` promises; the script then sets it to the library itself.
  function plotly() {
    if (!window.Plotly && address("scbig-plotly")) { window.Plotly = load(address("scbig-plotly")); }
  }
  const grid = () => (window.dash_ag_grid || !address("scbig-grid") ? Promise.resolve() : load(address("scbig-grid")));

  // A page without a table: its table's script comes once it is drawn, or when somebody asks for the table.
  function later() {
    const drawn = document.querySelector(".js-plotly-plot .main-svg, #page .text.empty, #page .wide");
    if (drawn) { (window.requestIdleCallback || window.setTimeout)(() => { plotly(); grid(); }); } else { window.setTimeout(later, 300); }
  }
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href$='/trials']");
    if (!link || window.dash_ag_grid || event.ctrlKey || event.metaKey || event.shiftKey || event.button) { return; }
    event.preventDefault();
    event.stopPropagation();
    grid().then(() => window.scbigGo(link.href));
  }, true);

  window.addEventListener("DOMContentLoaded", () => {
    if (!window.location.pathname.endsWith("/trials")) { plotly(); }
    later();
  });
})();

// What runs in the browser: themes, zoom that outlives updates, the URL that names a view, and a look for news
// every four seconds that costs next to nothing. No library beyond those that Dash ships.
window.dash_clientside = window.dash_clientside || {};
(function () {
  "use strict";
  const POLL_MS = 4000, SLOW_POLL_MS = 10000, QUIET_MS = 120000;  // slower where nothing has changed for two minutes
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  const stored = () => { try { return localStorage.getItem("scbig-theme"); } catch (e) { return null; } };
  const theme = () => stored() || (dark.matches ? "dark" : "light");

  function set(id, props) { window.dash_clientside.set_props(id, props); }

  function applyTheme(name) {
    document.documentElement.dataset.theme = name;
    document.documentElement.dataset.agThemeMode = name;
    set("theme", { data: name });
  }

  // The address names the view: what is set on a page stands in its query.
  function writeQuery(changes) {
    const url = new URL(window.location.href);
    for (const [name, value] of Object.entries(changes)) {
      if (value === null || value === undefined || value === "") { url.searchParams.delete(name); }
      else { url.searchParams.set(name, value); }
    }
    if (url.href !== window.location.href) { window.history.replaceState(window.history.state, "", url.href); }
  }

  async function poll() {
    const live = document.getElementById("live");
    const page = document.getElementById("page");
    if (!document.hidden && page && page.childElementCount) {
      try {
        const answer = await fetch("/pulse?path=" + encodeURIComponent(window.location.pathname), { cache: "no-store" });
        if (answer.status === 401) { window.location.href = "/login"; return; }
        const now = await answer.json();
        if (live && live.dataset.state !== "on") { live.dataset.state = "on"; live.textContent = "live"; live.title = "updates by itself"; }
        if (now !== poll.last) { poll.last = now; poll.changed = Date.now(); set("pulse", { data: now }); }
      } catch (error) {
        if (live) { live.dataset.state = "off"; live.textContent = "the dashboard has stopped"; live.title = "shown: the last state it sent"; }
      }
    }
    window.setTimeout(poll, Date.now() - poll.changed > QUIET_MS ? SLOW_POLL_MS : POLL_MS);
  }
  poll.changed = Date.now();

  const go = (href) => window.scbigGo(href);

  function graphOf(node) {
    const figure = node.closest("figure");
    return figure && figure.querySelector(".js-plotly-plot");
  }

  document.addEventListener("click", (event) => {
    const save = event.target.closest("[data-save]");
    if (save) {
      const graph = graphOf(save);
      const title = save.closest("figure").querySelector("h3").textContent.replace(/[^\w.-]+/g, "-");
      if (graph && window.Plotly) {
        const shown = getComputedStyle(document.documentElement).getPropertyValue("--page").trim();
        const layout = Object.assign({}, graph.layout, { paper_bgcolor: shown });
        window.Plotly.downloadImage({ data: graph.data, layout: layout }, { format: save.dataset.save, filename: title, width: graph.clientWidth, height: graph.clientHeight, scale: 2 });
      }
    } else if (event.target.closest("#theme-button")) {
      const next = theme() === "dark" ? "light" : "dark";
      try { localStorage.setItem("scbig-theme", next); } catch (e) { /* private windows have no storage */ }
      applyTheme(next);
    } else if (event.target.closest("#compare-selected")) {
      event.preventDefault();
      const link = event.target.closest("#compare-selected");
      if (link.getAttribute("href")) { go(link.getAttribute("href")); }
    }
  });

  // A click on a point leads to its trial; Plotly's events are on the graph, not in the document.
  function follow(graph) {
    if (graph.dataset.follows || !graph.on) { return; }
    graph.dataset.follows = "yes";
    graph.on("plotly_click", (event) => {
      const point = event.points && event.points[0];
      const study = window.location.pathname.match(/^\/study\/[^/]+/);
      const base = study ? study[0] : document.querySelector(".links a") && document.querySelector(".links a").getAttribute("href");
      if (point && typeof point.customdata === "string" && base) { go(base + "/trial/" + encodeURIComponent(point.customdata)); }
    });
  }

  function start() {
    if (!document.getElementById("page") || !window.dash_clientside.set_props) { window.setTimeout(start, 50); return; }
    applyTheme(theme());
    dark.addEventListener("change", () => applyTheme(theme()));
    new MutationObserver(() => document.querySelectorAll(".js-plotly-plot").forEach(follow))
      .observe(document.getElementById("page"), { childList: true, subtree: true });
    window.setTimeout(poll, 2000);
  }
  document.documentElement.dataset.theme = theme();
  document.documentElement.dataset.agThemeMode = theme();
  window.addEventListener("DOMContentLoaded", start);
  if (document.readyState !== "loading") { start(); }

  // What a reader has zoomed to, and hidden by the legend, outlives an update; another axis begins anew.
  function keepView(data) {
    const id = window.dash_clientside.callback_context.outputs_list[0].id;
    const node = document.getElementById(JSON.stringify({ of: id.of, part: id.part }));
    const graph = node && node.querySelector(".js-plotly-plot");
    const layout = Object.assign({}, data.layout);
    if (!graph || !graph.layout) { return layout; }
    const title = (axis) => (axis && axis.title && axis.title.text) || "";
    Object.keys(graph.layout).filter((key) => /^[xy]axis\d*$/.test(key)).forEach((key) => {
      const axis = graph.layout[key];
      if (axis.autorange === false && axis.range && layout[key] && title(layout[key]) === title(axis)) {
        layout[key] = Object.assign({}, layout[key], { range: axis.range.slice(), autorange: false });
      }
    });
    const hidden = (graph.data || []).filter((t) => t.visible === "legendonly").map((t) => t.name);
    if (hidden.length) { data.data.forEach((t) => { if (hidden.includes(t.name)) { t.visible = "legendonly"; } }); }
    return layout;
  }

  const none = () => window.dash_clientside.no_update;

  window.dash_clientside.scbig = {
    figure: function (data, name, style, before) {
      if (!data) { return [{ data: [], layout: { template: window.scbigTemplate(name || theme()) } }, Object.assign({}, style, { display: "none" })]; }
      const layout = Object.assign({}, keepView(data), { template: window.scbigTemplate(name || theme()), autosize: true });
      const traces = window.scbigTraces(data.data, name || theme());
      return [{ data: traces, layout: layout }, Object.assign({}, style, { display: "block" })];
    },
    remember: function (values, ids) {
      const changes = {};
      ids.forEach((id, i) => { changes[id.of] = Array.isArray(values[i]) ? values[i].join(",") : values[i]; });
      writeQuery(changes);
      return none();
    },
    title: function (title) { document.title = title || "scbig dashboard"; return none(); },
    restoreGrid: function () {
      const query = new URLSearchParams(window.location.search);
      let filter = {}, state = none();
      try { filter = JSON.parse(query.get("filter") || "{}") || {}; } catch (e) { filter = {}; }
      const sort = (query.get("sort") || "").match(/^(.+)\.(asc|desc)$/);
      if (sort) { state = [{ colId: sort[1], sort: sort[2], sortIndex: 0 }]; }
      return [filter, state, query.get("search") || ""];
    },
    rememberGrid: function (filter, columns, search, selected, rows, path) {
      const sorted = (columns || []).find((c) => c.sort);
      if (!window.location.pathname.endsWith("/trials")) { return [none(), none(), none()]; }  // the reader has left already
      const changes = { filter: filter && Object.keys(filter).length ? JSON.stringify(filter) : "", search: search || "" };
      if (columns) { changes.sort = sorted && sorted.colId !== "order" ? sorted.colId + "." + sorted.sort : ""; }
      writeQuery(changes);
      const names = (selected || []).map((row) => row.id).slice(0, 6);
      const on = names.length > 1;
      const base = (selected && selected[0] ? selected[0].href.replace(/\/trial\/$/, "") : "");
      const shown = rows ? rows.length + " trials shown" + (names.length ? ", " + names.length + " selected" : "") : "";
      return [shown, on ? base + "/compare?trials=" + names.map(encodeURIComponent).join(",") : "", on ? "button" : "button off"];
    },
    search: function (text, options) {
      return Object.assign({}, options, { quickFilterText: text || "" });
    },
    csv: function (n) { return Boolean(n); },
  };

  // For the table of trials.
  const functions = (window.dashAgGridFunctions = window.dashAgGridFunctions || {});
  functions.missingLast = function (a, b, nodeA, nodeB, descending) {
    const noA = a === null || a === undefined, noB = b === null || b === undefined;
    if (noA || noB) { return noA && noB ? 0 : (noA ? 1 : -1) * (descending ? -1 : 1); }
    return a < b ? -1 : a > b ? 1 : 0;
  };
  functions.gridTheme = function (base) {
    const common = { fontFamily: "inherit", fontSize: 13, headerFontSize: 12, headerFontWeight: 500, spacing: 6, wrapperBorderRadius: 6,
                     columnBorder: false, headerColumnBorder: false, accentColor: "#0072b2" };
    return base
      .withParams(Object.assign({}, common, { backgroundColor: "#ffffff", foregroundColor: "#1c2126", headerBackgroundColor: "#f6f7f9", headerTextColor: "#5b6570",
                    borderColor: "#e2e6ea", rowHoverColor: "#f3f6f9", selectedRowBackgroundColor: "#e6f0f7", browserColorScheme: "light" }), "light")
      .withParams(Object.assign({}, common, { backgroundColor: "#161b20", foregroundColor: "#e6e9ec", headerBackgroundColor: "#1b2127", headerTextColor: "#a3adb7",
                    borderColor: "#2b333b", rowHoverColor: "#1e252c", selectedRowBackgroundColor: "#1c3242", browserColorScheme: "dark" }), "dark");
  };
  const components = (window.dashAgGridComponentFunctions = window.dashAgGridComponentFunctions || {});
  components.TrialLink = function (props) {
    const href = props.data.href + encodeURIComponent(props.data.id);
    return window.React.createElement("a", { href: href, onClick: (event) => {
      if (!event.ctrlKey && !event.metaKey && !event.shiftKey) { event.preventDefault(); go(href); }
    } }, props.value);
  };
  components.Status = function (props) {
    return window.React.createElement("span", { className: "status" }, window.React.createElement("i", { className: "key " + props.value }), props.value);
  };
})();

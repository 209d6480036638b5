"use strict";
// Colours: figures name them ("@c1"), the style sheet knows them, for light and for dark.
const page = {
  color(name) {
    return getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
  },
  fill(value) {
    if (typeof value === "string" && value.startsWith("@")) {
      if (value === "@scale") return [0, 1, 2, 3, 4].map((k) => [k / 4, page.color("scale" + k)]);
      return page.color(value.slice(1));
    }
    if (Array.isArray(value)) return typeof value[0] === "number" ? value : value.map(page.fill);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, page.fill(item)]));
    }
    return value;
  },
  listeners: [],
};

(function () {
  const figures = JSON.parse(document.getElementById("figures").textContent);

  function axis(given) {
    const base = { gridcolor: "@grid", linecolor: "@edge", zerolinecolor: "@grid", zeroline: false, ticks: "outside",
      tickcolor: "@edge", ticklen: 4, automargin: true, tickfont: { size: 11, color: "@muted" } };
    const merged = Object.assign(base, given);
    if (given.tickfont) merged.tickfont = Object.assign({ size: 11, color: "@muted" }, given.tickfont);
    if (given.title) {
      merged.title = { text: given.title.text, font: { size: 12, color: "@ink" }, standoff: 8 };
    }
    return merged;
  }

  function layout(figure) {
    const given = figure.layout;
    const narrow = document.documentElement.clientWidth < 520;
    const legend = { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom",
      font: { size: narrow ? 10 : 11, color: "@ink" }, bgcolor: "rgba(0,0,0,0)" };
    // Small points would be smaller still in a legend; a line keeps its dashes.
    if (figure.data.every((trace) => trace.mode === "markers" || trace.type === "bar")) legend.itemsizing = "constant";
    const base = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", autosize: true, hovermode: "closest",
      font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif", size: 11, color: "@ink" },
      margin: { l: 52, r: 12, t: 12, b: 42 }, legend, barmode: "group",
      hoverlabel: { bgcolor: "@card", bordercolor: "@edge", font: { color: "@ink", size: 12 } },
    };
    const shown = given.showlegend !== false && figure.data.some((trace) => trace.name);
    const merged = Object.assign(base, given, { showlegend: shown, xaxis: axis(given.xaxis || {}),
      yaxis: axis(given.yaxis || {}) });
    if (shown) merged.margin.t = 34;
    return page.fill(merged);
  }

  function draw(figure) {
    const target = document.getElementById("figure-" + figure.key);
    const options = { responsive: true, displayModeBar: false, displaylogo: false };
    return Plotly.react(target, page.fill(figure.data), layout(figure), options).then(() => {
      target.dataset.drawn = "yes";
    });
  }

  function all() {
    return Promise.all(figures.map(draw)).then(() => {
      document.documentElement.dataset.figures = String(figures.length);
    });
  }

  const root = document.documentElement;
  const dark = window.matchMedia("(prefers-color-scheme: dark)");
  function theme(name) {
    root.dataset.theme = name;
    all();
    page.listeners.forEach((listener) => listener());
  }
  root.dataset.theme = dark.matches ? "dark" : "light";
  dark.addEventListener("change", (event) => theme(event.matches ? "dark" : "light"));
  document.getElementById("theme").addEventListener("click", () => {
    theme(root.dataset.theme === "dark" ? "light" : "dark");
  });
  all();
})();

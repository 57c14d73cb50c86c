// Figures are drawn for the width that they have: their panels side by side as far as there is room, text in as many
// lines as it needs. Without JavaScript, and on paper, the still drawings are seen.
const CHARACTER = 6.4; // mean width of a character of a drawing, in pixels
const NARROW = 480;
const PANEL = 16; // between panels
const WIDEST = 760; // of a single panel

/** The text in lines of at most `room` characters, as far as its words allow. */
const lines = (text, room) => {
  const found = [""];
  for (const word of text.split(" ")) {
    const last = found[found.length - 1];
    if (last && last.length + word.length >= room) found.push(word);
    else found[found.length - 1] = last ? `${last} ${word}` : word;
  }
  return found.length === 1 ? found[0] : found;
};

/** All encodings of a view and its layers. */
const encodings = (view) => [view.encoding ?? {}, ...(view.layer ?? []).flatMap(encodings)];

/** The panels of a figure, each a specification of its own. */
const panels = ({ concat, columns, spacing, ...shared }) =>
  concat ? concat.map((panel) => ({ ...shared, ...panel })) : [shared];

/** All rows that a panel and its layers show. */
const rowsOf = (panel) => {
  const named = ({ data, layer = [] }) => [...(data?.name ? [data.name] : []), ...layer.flatMap(named)];
  return [...new Set(named(panel))].flatMap((name) => panel.datasets[name]);
};

/** The names on the axis of rows, if a panel has one. */
const rowNames = (panel) => {
  const field = encodings(panel).map(({ y }) => y).find((y) => y?.type === "nominal")?.field;
  return field ? [...new Set(rowsOf(panel).map((row) => row[field]).filter((value) => typeof value === "string"))] : null;
};

/** The height of a row, with room for all that stands in it, and for a name in two lines. */
const rowHeight = (panel, names, twoLines) => {
  const offset = encodings(panel).map(({ yOffset }) => yOffset?.field).find((field) => field);
  const values = rowsOf(panel).map((row) => row[offset]).filter((value) => value !== undefined);
  const within = offset && panel.height.for !== "position" ? 1.25 * new Set(values).size : 1;
  return Math.max(panel.height.step * within, twoLines ? 28 : 0);
};

/** A panel for a width in pixels. */
const fitted = (original, width) => {
  const panel = structuredClone(original);
  const names = rowNames(panel);
  const narrow = width < NARROW;
  const longest = Math.max(0, ...(names ?? []).map((name) => name.length));
  const beside = names ? Math.min(longest, narrow ? Math.ceil(longest / 2) + 4 : longest) * CHARACTER + 24 : 64;
  if (panel.height?.step) panel.height = rowHeight(panel, names, narrow && longest > 16) * names.length;
  const room = { x: Math.max(14, Math.floor((width - beside) / CHARACTER)), y: Math.floor(panel.height / CHARACTER) };
  for (const encoding of encodings(panel)) {
    for (const channel of ["x", "y"]) {
      const definition = encoding[channel];
      if (typeof definition?.title === "string") definition.title = lines(definition.title, room[channel]);
      if (definition?.axis?.labels === false && channel === "y" && names) delete definition.axis.labels;
    }
    for (const channel of ["color", "shape", "strokeDash", "size"]) {
      if (encoding[channel]?.field && encoding[channel].type !== "quantitative") encoding[channel].legend = null; // above the figure
    }
    if (names && narrow && encoding.y?.type === "nominal" && longest > 16) {
      const half = "lastindexof(slice(datum.label, 0, max(16, length(datum.label) / 2 + 4)), ' ')";
      const split = `[slice(datum.label, 0, ${half}), slice(datum.label, ${half} + 1)]`;
      encoding.y.axis = { ...encoding.y.axis, labelExpr: `length(datum.label) > 16 && ${half} > 0 ? ${split} : datum.label` };
    }
  }
  if (typeof panel.title === "string") panel.title = lines(panel.title, Math.floor(width / CHARACTER / 1.1));
  panel.width = width;
  panel.autosize = { type: "fit-x", contains: "padding" };
  panel.config = { ...panel.config, title: { ...panel.config?.title, frame: "bounds" } };
  return panel;
};

const drawings = new Map(); // figure: what its panels were drawn by

const draw = async (figure) => {
  const [still, live] = [".still", ".live"].map((name) => figure.querySelector(name));
  const parts = panels(JSON.parse(figure.querySelector("script").textContent));
  const least = Math.max(...parts.map((panel) => (panel.width ?? 300) + (rowNames(panel) ? 130 : 70)));
  const whole = figure.clientWidth;
  const columns = Math.max(1, Math.min(parts.length, Math.floor((whole + PANEL) / (least + PANEL))));
  const width = Math.min(WIDEST, Math.floor((whole - PANEL * (columns - 1)) / columns));
  const places = parts.map(() => document.createElement("div"));
  (drawings.get(figure) ?? []).forEach((result) => result.finalize());
  live.replaceChildren(...places);
  live.style.gridTemplateColumns = `repeat(${columns}, ${width}px)`;
  live.hidden = false;
  try {
    const choosers = figure.querySelector(".choosers");
    choosers.replaceChildren();
    const options = { actions: false, renderer: "svg", bind: choosers };
    drawings.set(figure, await Promise.all(parts.map((panel, place) => window.vegaEmbed(places[place], fitted(panel, width), options))));
  } catch (error) {
    live.hidden = true;
    console.error(`The figure ${figure.dataset.name} stays a still drawing:`, error);
    return;
  }
  still.hidden = true;
  figure.querySelector(".legend")?.removeAttribute("hidden");
  figure.dataset.width = whole;
};

// What is folded or far below is drawn when it comes near.
const near = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    if (isIntersecting && Number(target.dataset.width) !== target.clientWidth) draw(target);
  }
}, { rootMargin: "400px" });

/** A table of the rows that a figure holds; bands and lines that help to read it are no rows. */
const valuesTable = (specification, title) => {
  const rows = Object.values(specification.datasets ?? {}).flat();
  const named = rows.filter((row) => Object.values(row).some((value) => typeof value === "string"));
  const columns = [...new Set(named.flatMap(Object.keys))];
  const cell = (tag, text) => {
    const element = document.createElement(tag);
    if (tag === "th") element.scope = "col";
    element.textContent = typeof text === "number" ? Number(text.toPrecision(6)) : text ?? "–";
    return element;
  };
  const table = document.createElement("table");
  table.createCaption().textContent = title;
  const head = table.createTHead().insertRow();
  head.append(...columns.map((name) => cell("th", name.replaceAll("_", " "))));
  const content = table.createTBody();
  for (const row of named) content.insertRow().append(...columns.map((name) => cell("td", row[name])));
  return table;
};

for (const figure of document.querySelectorAll("figure[data-name]")) {
  near.observe(figure);
  const values = figure.querySelector(".values");
  const text = figure.querySelector("script");
  figure.querySelector(".beside").hidden = false;
  values.addEventListener("toggle", () => values.lastElementChild.replaceChildren(valuesTable(JSON.parse(text.textContent), figure.querySelector("figcaption b").textContent)), { once: true });
  figure.querySelector(".save").addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([figure.querySelector(".still svg").outerHTML], { type: "image/svg+xml" }));
    link.download = `${figure.dataset.name}.svg`;
    link.click();
    URL.revokeObjectURL(link.href);
  });
}

let waiting;
window.addEventListener("resize", () => {
  clearTimeout(waiting);
  waiting = setTimeout(() => {
    for (const figure of drawings.keys()) if (Number(figure.dataset.width) !== figure.clientWidth && figure.clientWidth) draw(figure);
  }, 150);
});

// A link into something folded opens it.
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  for (let place = target; place; place = place.parentElement) if (place.tagName === "DETAILS") place.open = true;
  target?.scrollIntoView();
};
window.addEventListener("hashchange", unfold);
if (location.hash) unfold();

// The page that searches and filters all tasks. Texts come from images: they enter the page as text, never as markup.
(() => {
  "use strict";

  const ROWS = 50;
  const QUIET = 400; // ms without typing before a screen reader is told the count, and the address follows
  const LONG_FACET = 12;

  const { UNKNOWN, build, prepare, select, marks } = window.evaldockFind;
  const { LONGEST_QUERY, nothing, read, write } = window.evaldockAddress;

  const data = window.EVALDOCK_SEARCH;
  const root = document.getElementById("ed-browse");
  if (!root || !data) return; // the page goes on saying where the tasks are listed
  const part = (name) => root.querySelector(`[data-ed="${name}"]`);
  const parts = {
    query: part("query"),
    filters: part("filters"),
    filterCount: part("filter-count"),
    facets: part("facets"),
    summary: part("summary"),
    said: part("said"),
    sort: part("sort"),
    chosen: part("chosen"),
    note: part("note"),
    hits: part("hits"),
    pages: part("pages"),
    clear: part("clear"),
  };

  const index = build(data, window.EVALDOCK_SYNONYMS ?? []);
  const boxes = index.facets.map(makeFacet);
  let state = nothing();
  let ignored = [];
  let typing = false;
  let waiting = 0;

  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  }

  function count(number) {
    return `${number.toLocaleString("en")} ${number === 1 ? "task" : "tasks"}`;
  }

  // Filters

  function nameOf(facet, value) {
    return value === UNKNOWN ? facet.missing : value;
  }

  /** The fieldset of a facet. Its values keep their places whatever is chosen: alphabetical, or most tasks first. */
  function makeFacet(facet) {
    const totals = new Uint32Array(facet.values.length);
    for (const has of facet.of) for (const value of has) totals[value]++;
    const order = [...facet.values.keys()].filter((value) => totals[value] > 0);
    const byName = (a, b) => facet.values[a].localeCompare(facet.values[b], "en", { numeric: true });
    const last = (value) => Number(facet.values[value] === UNKNOWN);
    order.sort((a, b) => last(a) - last(b) || (facet.key === "harness" ? 0 : totals[b] - totals[a]) || byName(a, b));

    const list = make("ul", "ed-facet__values");
    const rows = new Map();
    for (const value of order) {
      const box = make("input", "ed-facet__box");
      box.type = "checkbox";
      box.value = facet.values[value];
      box.addEventListener("change", () => choose(facet.key, box.value, box.checked));
      const name = make("span", "ed-facet__name", nameOf(facet, facet.values[value]));
      const shown = make("span", "ed-facet__count");
      const row = make("li", "", make("label", "ed-facet__value", box, name, shown));
      rows.set(value, { row, box, shown, last: -1 });
      list.append(row);
    }
    const fieldset = make("fieldset", "ed-facet", make("legend", "", facet.label));
    if (order.length > LONG_FACET) fieldset.append(makeNarrower(facet, rows));
    fieldset.append(list);
    parts.facets.append(fieldset);
    return { facet, rows };
  }

  /** A field that shortens a long list of values to those that contain what is typed. */
  function makeNarrower(facet, rows) {
    const field = make("input", "ed-facet__narrow");
    field.type = "search";
    field.placeholder = `Narrow ${rows.size} values`;
    field.setAttribute("aria-label", `Show only some values of ${facet.label.toLowerCase()}`);
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const [value, { row, box }] of rows) {
        row.hidden = !box.checked && !facet.values[value].toLowerCase().includes(wanted);
      }
    });
    return field;
  }

  function showFacets(counts) {
    boxes.forEach(({ facet, rows }, which) => {
      const chosen = state.chosen.get(facet.key);
      for (const [value, row] of rows) {
        const number = counts[which][value];
        row.box.checked = chosen?.has(facet.values[value]) ?? false;
        if (row.last === number) continue;
        row.last = number;
        row.shown.replaceChildren(number.toLocaleString("en"), make("span", "visually-hidden", number === 1 ? " task" : " tasks"));
        row.row.classList.toggle("ed-facet--none", number === 0);
      }
    });
    const chosen = [...state.chosen.values()].reduce((sum, names) => sum + names.size, 0);
    parts.filterCount.textContent = chosen ? `${chosen} chosen` : "";
  }

  function choose(key, value, on) {
    const names = new Set(state.chosen.get(key));
    if (on) names.add(value);
    else names.delete(value);
    if (names.size) state.chosen.set(key, names);
    else state.chosen.delete(key);
    change();
  }

  // What was found

  function showChosen() {
    const buttons = [];
    for (const { facet } of boxes) {
      for (const value of state.chosen.get(facet.key) ?? []) {
        const button = make("button", "ed-chosen", make("span", "ed-chosen__kind", `${facet.label}: `), nameOf(facet, value));
        button.type = "button";
        button.append(make("span", "ed-chosen__remove", "×"));
        button.lastElementChild.setAttribute("aria-hidden", "true");
        button.setAttribute("aria-label", `Remove filter ${facet.label}: ${nameOf(facet, value)}`);
        button.addEventListener("click", () => {
          choose(facet.key, value, false);
          (parts.chosen.querySelector("button") ?? parts.query).focus();
        });
        buttons.push(button);
      }
    }
    parts.chosen.replaceChildren(...buttons);
    parts.clear.hidden = !state.query && buttons.length === 0;
  }

  function marked(element, text, units) {
    let end = 0;
    for (const [from, to] of marks(text, units)) {
      element.append(text.slice(end, from), make("mark", "ed-mark", text.slice(from, to)));
      end = to;
    }
    element.append(text.slice(end));
    return element;
  }

  /** The address of a task's page: below the site's root, whatever the data says. */
  function pageOf(address) {
    const safe = /^[\w.~%-]+(?:\/[\w.~%-]+)*\/?$/.test(address) && !address.split("/").includes("..");
    return safe ? `${root.dataset.root}/${address}` : "#";
  }

  function makeHit(at, units) {
    const task = index.tasks[at];
    const link = marked(make("a", "ed-hit__name"), task.name, units);
    link.href = pageOf(task.url);
    const head = make("p", "ed-hit__head", link);
    if (task.title) head.append(" ", marked(make("span", "ed-hit__title"), task.title, units));
    const main = make("div", "ed-hit__main", head);
    if (task.description) main.append(marked(make("p", "ed-hit__text"), task.description, units));
    const harness = marked(make("span", "ed-hit__harness"), index.harnesses[task.harness].name, units);
    const facts = make("p", "ed-hit__facts", harness);
    for (const which of [1, 2]) {
      const { key, values, of } = index.facets[which];
      for (const value of of[at]) {
        if (values[value] !== UNKNOWN) facts.append(" ", make("span", `ed-tag ed-tag--${key}`, values[value]));
      }
    }
    return make("li", "ed-hit", main, facts);
  }

  function show() {
    const { found, counts, units, broad } = select(index, { ...state, query: state.query.trim() });
    const last = Math.max(1, Math.ceil(found.length / ROWS));
    state.page = Math.min(state.page, last);
    const first = (state.page - 1) * ROWS;
    parts.hits.replaceChildren(...found.slice(first, first + ROWS).map((at) => makeHit(at, units)));
    parts.hits.start = first + 1;
    showFacets(counts);
    showChosen();
    showPages(last);
    const total = index.tasks.length;
    const all = found.length === total ? count(total) : `${found.length.toLocaleString("en")} of ${count(total)}`;
    parts.summary.textContent = found.length ? all : "No task fits";
    showNote(found.length, broad);
    window.clearTimeout(waiting);
    waiting = window.setTimeout(() => {
      parts.said.textContent = [parts.summary.textContent, parts.note.textContent].filter(Boolean).join(". ");
      if (typing) store(true);
    }, QUIET);
  }

  function showNote(found, broad) {
    const notes = [];
    if (ignored.length) notes.push(`Not in this catalog, so left out: ${ignored.slice(0, 5).join(", ").slice(0, 200)}.`);
    if (broad) notes.push("Nothing has that name; these are about the same subject.");
    if (!found) {
      notes.push(
        state.chosen.size
          ? "Fewer filters or other words may find something."
          : "Other words, or fewer of them, may find something.",
      );
    }
    parts.note.textContent = notes.join(" ");
    parts.note.hidden = notes.length === 0;
  }

  function showPages(last) {
    const [previous, next] = parts.pages.querySelectorAll("button");
    parts.pages.hidden = last === 1;
    // aria-disabled keeps the focus where it is when the last page is reached.
    previous.setAttribute("aria-disabled", String(state.page === 1));
    next.setAttribute("aria-disabled", String(state.page === last));
    parts.pages.querySelector("span").textContent = `Page ${state.page} of ${last}`;
  }

  // The address

  /** Puts the state into the address: as a new step back, or in place of the newest. */
  function store(inPlace) {
    const fragment = write(state, index.facets);
    if (fragment === window.location.hash.replace(/^#/, "") && !window.location.search) return;
    const address = `${window.location.pathname}${fragment && "#"}${fragment}`;
    window.history[inPlace ? "replaceState" : "pushState"](null, "", address);
  }

  function change() {
    typing = false;
    ignored = [];
    state.page = 1;
    store(false);
    show();
  }

  function restore() {
    typing = false;
    ({ state, ignored } = read(window.location.hash, index.facets));
    parts.query.value = state.query;
    parts.sort.value = state.sort;
    show();
  }

  /** The search field of other pages is a form, so that it works anywhere: its word arrives as ?q=. */
  function takeOverForm() {
    const asked = new URLSearchParams(window.location.search).get("q");
    if (asked === null) return;
    if (!window.location.hash) state.query = asked.slice(0, LONGEST_QUERY);
    else ({ state } = read(window.location.hash, index.facets));
    store(true);
  }

  // Hands

  function turn(step) {
    const before = state.page;
    state.page += step;
    if (state.page < 1) state.page = 1;
    show();
    if (state.page === before) return;
    store(false);
    root.querySelector(".ed-browse__found").scrollIntoView({ block: "start" });
  }

  function moveBetweenHits(event) {
    const links = [...parts.hits.querySelectorAll(".ed-hit__name")];
    const at = links.indexOf(document.activeElement);
    const inQuery = document.activeElement === parts.query;
    if (at < 0 && !inQuery) return;
    const steps = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: links.length - 1 };
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    if (inQuery && !["ArrowDown", "Enter"].includes(event.key)) return;
    if (!inQuery && event.key === "Escape") parts.query.focus();
    else if (inQuery && event.key === "Enter") links[0]?.focus();
    else if (event.key in steps) (steps[event.key] < 0 ? parts.query : links[steps[event.key]])?.focus();
    else return;
    event.preventDefault();
  }

  function focusQuery(event) {
    const typingElsewhere = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typingElsewhere) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // the theme's own search wants this key too
    parts.query.focus();
    parts.query.select();
  }

  parts.query.maxLength = LONGEST_QUERY;
  parts.query.addEventListener("input", () => {
    state.query = parts.query.value;
    state.page = 1;
    ignored = [];
    if (!typing) store(false);
    typing = true;
    show();
  });
  parts.query.addEventListener("blur", () => {
    if (typing) store(true);
    typing = false;
  });
  parts.sort.addEventListener("change", () => {
    state.sort = parts.sort.value;
    change();
  });
  parts.clear.addEventListener("click", () => {
    state = nothing();
    parts.query.value = "";
    parts.sort.value = state.sort;
    change();
    parts.query.focus();
  });
  parts.pages.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button && button.getAttribute("aria-disabled") !== "true") turn(Number(button.value));
  });
  root.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("keydown", moveBetweenHits);
  window.addEventListener("keydown", focusQuery, true);
  window.addEventListener("hashchange", restore);

  const wide = window.matchMedia("(min-width: 60rem)");
  const fold = () => (parts.filters.open = wide.matches);
  wide.addEventListener("change", fold);
  fold();

  const idle = window.requestIdleCallback ?? ((run) => window.setTimeout(run, 50));
  const prepareMore = () => prepare(index) && idle(prepareMore);
  idle(prepareMore);

  takeOverForm();
  restore();
  root.hidden = false;
  document.getElementById("ed-browse-fallback")?.remove();
})();

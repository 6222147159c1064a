// The page that searches and filters all tasks. Texts come from images: they enter the page as text, never as markup.
(() => {
  "use strict";

  const ROWS = 50;
  const QUIET = 400; // ms without typing before a screen reader is told the count, and the address follows

  const { UNKNOWN, build, prepare, select } = window.evaldockFind;
  const { marks } = window.evaldockWords;
  const { LONGEST_QUERY, nothing, read, write } = window.evaldockAddress;
  const { make, makeFacet, makeChosen } = window.evaldockFacets;

  const data = window.EVALDOCK_SEARCH;
  const root = document.getElementById("ed-browse");
  if (!root || !data) return; // the page goes on saying where the tasks are listed

  /**
   * @template {HTMLElement} Kind
   * @param {string} name
   * @param {new () => Kind} kind
   * @returns {Kind}
   */
  function part(name, kind) {
    const found = root?.querySelector(`[data-ed="${name}"]`);
    if (found instanceof kind) return found;
    throw new Error(`the page has no ${name}`);
  }

  const query = part("query", HTMLInputElement);
  const filters = part("filters", HTMLDetailsElement);
  const filterCount = part("filter-count", HTMLElement);
  const summary = part("summary", HTMLElement);
  const said = part("said", HTMLElement);
  const sort = part("sort", HTMLSelectElement);
  const chosen = part("chosen", HTMLElement);
  const note = part("note", HTMLElement);
  const hits = part("hits", HTMLOListElement);
  const pages = part("pages", HTMLElement);
  const previous = part("previous", HTMLButtonElement);
  const next = part("next", HTMLButtonElement);
  const pageNumber = part("page", HTMLElement);
  const clear = part("clear", HTMLButtonElement);

  const index = build(data, window.EVALDOCK_SYNONYMS ?? []);
  const facets = index.facets.map((facet) => makeFacet(facet, choose));
  part("facets", HTMLElement).append(...facets.map(({ fieldset }) => fieldset));
  let state = nothing();
  /** @type {string[]} */
  let ignored = [];
  let typing = false;
  let waiting = 0;

  // What was found

  function show() {
    const { found, counts, units, broad } = select(index, state);
    const last = Math.max(1, Math.ceil(found.length / ROWS));
    state.page = Math.min(state.page, last);
    const first = (state.page - 1) * ROWS;
    hits.replaceChildren(...found.slice(first, first + ROWS).map((at) => makeHit(at, units)));
    hits.start = first + 1;
    facets.forEach((facet, at) => facet.show(counts[at], state.chosen.get(index.facets[at].key)));
    showChosen();
    showPages(last);
    showSummary(found.length, broad);
    window.clearTimeout(waiting);
    waiting = window.setTimeout(() => {
      said.textContent = [summary.textContent, note.textContent].filter(Boolean).join(". ");
      if (typing) store(true);
    }, QUIET);
  }

  /**
   * @param {number} at
   * @param {Unit[]} units
   */
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
    for (const { key, values, of } of index.facets.slice(1, 3)) {
      for (const value of of[at]) {
        if (values[value] !== UNKNOWN) facts.append(" ", make("span", `ed-tag ed-tag--${key}`, values[value]));
      }
    }
    return make("li", "ed-hit", main, facts);
  }

  /**
   * @template {HTMLElement} Kind
   * @param {Kind} element
   * @param {string} text
   * @param {Unit[]} units
   */
  function marked(element, text, units) {
    let end = 0;
    for (const [from, to] of marks(text, units)) {
      element.append(text.slice(end, from), make("mark", "ed-mark", text.slice(from, to)));
      end = to;
    }
    element.append(text.slice(end));
    return element;
  }

  /**
   * The address of a task's page: below the site's root, whatever the data says.
   * @param {string} address
   */
  function pageOf(address) {
    const safe = /^[\w.~%-]+(?:\/[\w.~%-]+)*\/?$/.test(address) && !address.split("/").includes("..");
    return safe ? `${root?.dataset.root}/${address}` : "#";
  }

  function showChosen() {
    const buttons = index.facets.flatMap((facet) =>
      [...(state.chosen.get(facet.key) ?? [])].map((value) => makeChosen(facet, value, () => takeBack(facet, value))),
    );
    chosen.replaceChildren(...buttons);
    filterCount.textContent = buttons.length ? `${buttons.length} chosen` : "";
    clear.hidden = !state.query && buttons.length === 0;
  }

  /** @param {number} last */
  function showPages(last) {
    pages.hidden = last === 1;
    // aria-disabled keeps the focus where it is when the last page is reached.
    previous.setAttribute("aria-disabled", String(state.page === 1));
    next.setAttribute("aria-disabled", String(state.page === last));
    pageNumber.textContent = `Page ${state.page} of ${last}`;
  }

  /**
   * @param {number} found
   * @param {boolean} broad
   */
  function showSummary(found, broad) {
    const total = index.tasks.length;
    const all = `${total.toLocaleString("en")} ${total === 1 ? "task" : "tasks"}`;
    summary.textContent = found === total ? all : `${found.toLocaleString("en")} of ${all}`;
    if (!found) summary.textContent = "No task fits";
    const notes = [];
    if (ignored.length) {
      notes.push(`Not in this catalog, so left out: ${ignored.slice(0, 5).join(", ").slice(0, 200)}.`);
    }
    if (broad) notes.push("Nothing has that name; these are about the same subject.");
    if (!found && state.chosen.size) notes.push("Fewer filters or other words may find something.");
    else if (!found) notes.push("Other words, or fewer of them, may find something.");
    note.textContent = notes.join(" ");
    note.hidden = notes.length === 0;
  }

  // What is looked for

  /**
   * @param {string} key
   * @param {string} value
   * @param {boolean} on
   */
  function choose(key, value, on) {
    const values = new Set(state.chosen.get(key));
    if (on) values.add(value);
    else values.delete(value);
    if (values.size) state.chosen.set(key, values);
    else state.chosen.delete(key);
    change();
  }

  /**
   * @param {Facet} facet
   * @param {string} value
   */
  function takeBack(facet, value) {
    choose(facet.key, value, false);
    (chosen.querySelector("button") ?? query).focus();
  }

  function change() {
    typing = false;
    ignored = [];
    state.page = 1;
    store(false);
    show();
  }

  function type() {
    state.query = query.value;
    state.page = 1;
    ignored = [];
    if (!typing) store(false);
    typing = true;
    show();
  }

  function rest() {
    if (typing) store(true);
    typing = false;
  }

  function clearAll() {
    state = nothing();
    query.value = "";
    sort.value = state.sort;
    change();
    query.focus();
  }

  /**
   * @param {HTMLButtonElement} button
   * @param {number} step
   */
  function turn(button, step) {
    if (button.getAttribute("aria-disabled") === "true") return;
    state.page += step;
    show();
    store(false);
    summary.scrollIntoView({ block: "start" });
  }

  // The address

  /**
   * Puts the state into the address: as a new step back, or in place of the newest.
   * @param {boolean} inPlace
   */
  function store(inPlace) {
    const fragment = write(state, index.facets);
    if (fragment === window.location.hash.replace(/^#/, "") && !window.location.search) return;
    const address = `${window.location.pathname}${fragment && "#"}${fragment}`;
    window.history[inPlace ? "replaceState" : "pushState"](null, "", address);
  }

  function restore() {
    typing = false;
    ({ state, ignored } = read(window.location.hash, index.facets));
    query.value = state.query;
    sort.value = state.sort;
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

  // The keyboard

  /** @param {KeyboardEvent} event */
  function moveBetweenHits(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const target = targetOf(event.key);
    if (!target) return;
    event.preventDefault();
    target.focus();
  }

  /**
   * Where a key leads from what has the focus.
   * @param {string} key
   * @returns {HTMLElement | undefined}
   */
  function targetOf(key) {
    const links = [...hits.querySelectorAll("a")];
    if (document.activeElement === query) return key === "ArrowDown" || key === "Enter" ? links[0] : undefined;
    const at = links.findIndex((link) => link === document.activeElement);
    if (at < 0) return undefined;
    if (key === "Escape" || (key === "ArrowUp" && at === 0)) return query;
    return { ArrowDown: links[at + 1], ArrowUp: links[at - 1], Home: links[0], End: links[links.length - 1] }[key];
  }

  /** @param {KeyboardEvent} event */
  function focusQuery(event) {
    const typesElsewhere = event.target instanceof Element && event.target.closest("input, textarea, select");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || typesElsewhere) return;
    event.preventDefault();
    event.stopImmediatePropagation(); // the theme's own search wants this key too
    query.focus();
    query.select();
  }

  function prepareAhead() {
    if (prepare(index)) whenIdle(prepareAhead);
  }

  /** @param {() => void} run */
  function whenIdle(run) {
    if (window.requestIdleCallback) window.requestIdleCallback(run);
    else window.setTimeout(run, 50);
  }

  query.maxLength = LONGEST_QUERY;
  query.addEventListener("input", type);
  query.addEventListener("blur", rest);
  sort.addEventListener("change", () => {
    state.sort = sort.value === "name" || sort.value === "harness" ? sort.value : "best";
    change();
  });
  clear.addEventListener("click", clearAll);
  previous.addEventListener("click", () => turn(previous, -1));
  next.addEventListener("click", () => turn(next, 1));
  query.form?.addEventListener("submit", (event) => event.preventDefault());
  root.addEventListener("keydown", moveBetweenHits);
  window.addEventListener("keydown", focusQuery, true);
  window.addEventListener("hashchange", restore);

  const wide = window.matchMedia("(min-width: 60rem)");
  const unfold = () => (filters.open = wide.matches);
  wide.addEventListener("change", unfold);
  unfold();

  takeOverForm();
  restore();
  whenIdle(prepareAhead);
  root.hidden = false;
  document.getElementById("ed-browse-fallback")?.remove();
})();

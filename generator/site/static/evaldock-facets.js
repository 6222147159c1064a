// The filters beside the tasks: a fieldset of boxes for each facet, and a button for each value that is chosen.
(() => {
  "use strict";

  const LONG_FACET = 12;
  const { UNKNOWN } = window.evaldockFind;

  /**
   * @template {keyof HTMLElementTagNameMap} Tag
   * @param {Tag} tag
   * @param {string} className
   * @param {...(Node | string)} children
   */
  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children);
    return element;
  }

  /**
   * @param {Facet} facet
   * @param {string} value
   */
  function nameOf(facet, value) {
    return value === UNKNOWN ? facet.missing : value;
  }

  /**
   * The fieldset of a facet, and a function that shows counts and ticks in it. Values stand in one order whatever is
   * chosen, harnesses by name, others with most tasks first, "unknown" last; but those that would show nothing
   * make room for the others.
   * @param {Facet} facet
   * @param {(key: string, value: string, on: boolean) => void} choose
   */
  function makeFacet(facet, choose) {
    const list = make("ul", "ed-facet__values");
    /** @type {Map<number, FacetRow>} */
    const rows = new Map();
    for (const at of orderOf(facet)) {
      const row = makeRow(nameOf(facet, facet.values[at]));
      row.box.value = facet.values[at];
      row.box.addEventListener("change", () => choose(facet.key, facet.values[at], row.box.checked));
      rows.set(at, row);
      list.append(row.item);
    }
    const fieldset = make("fieldset", "ed-facet", make("legend", "", facet.label));
    if (rows.size > LONG_FACET) fieldset.append(makeNarrower(facet, rows));
    fieldset.append(list);

    /**
     * @param {Uint32Array} counts
     * @param {Set<string> | undefined} chosen
     */
    function show(counts, chosen) {
      let moved = false;
      for (const [at, row] of rows) {
        row.box.checked = chosen?.has(facet.values[at]) ?? false;
        if (row.last !== counts[at]) showCount(row, counts[at]);
        const idle = counts[at] === 0 && !row.box.checked;
        moved ||= row.idle !== idle;
        row.idle = idle;
      }
      if (!moved) return;
      const focused = document.activeElement; // moving it would lose it
      const all = [...rows.values()];
      list.append(...[...all.filter((row) => !row.idle), ...all.filter((row) => row.idle)].map(({ item }) => item));
      if (focused instanceof HTMLElement && list.contains(focused)) focused.focus();
    }
    return { fieldset, show };
  }

  /** @param {Facet} facet */
  function orderOf(facet) {
    const totals = new Uint32Array(facet.values.length);
    for (const has of facet.of) for (const value of has) totals[value]++;
    const rank = (/** @type {number} */ value) =>
      facet.values[value] === UNKNOWN ? 1 : facet.key === "harness" ? 0 : -totals[value];
    return [...facet.values.keys()]
      .filter((value) => totals[value] > 0)
      .sort(
        (a, b) => rank(a) - rank(b) || facet.values[a].localeCompare(facet.values[b], "en", { numeric: true }),
      );
  }

  /**
   * @param {string} name
   * @returns {FacetRow}
   */
  function makeRow(name) {
    const box = make("input", "ed-facet__box");
    box.type = "checkbox";
    const count = make("span", "ed-facet__count");
    const label = make("label", "ed-facet__value", box, make("span", "ed-facet__name", name), count);
    return { item: make("li", "", label), box, count, last: -1, idle: false };
  }

  /**
   * @param {FacetRow} row
   * @param {number} number
   */
  function showCount(row, number) {
    row.last = number;
    const unit = make("span", "visually-hidden", number === 1 ? " task" : " tasks");
    row.count.replaceChildren(number.toLocaleString("en"), unit);
    row.item.classList.toggle("ed-facet--none", number === 0);
  }

  /**
   * A field that shortens a long list of values to those that contain what is typed, and those that are chosen.
   * @param {Facet} facet
   * @param {Map<number, FacetRow>} rows
   */
  function makeNarrower(facet, rows) {
    const field = make("input", "ed-facet__narrow");
    field.type = "search";
    field.placeholder = `Narrow ${rows.size} values`;
    field.setAttribute("aria-label", `Show only some values of ${facet.label.toLowerCase()}`);
    field.addEventListener("input", () => {
      const wanted = field.value.trim().toLowerCase();
      for (const [at, { item, box }] of rows) {
        item.hidden = !box.checked && !facet.values[at].toLowerCase().includes(wanted);
      }
    });
    return field;
  }

  /**
   * A button that takes a chosen value back.
   * @param {Facet} facet
   * @param {string} value
   * @param {() => void} remove
   */
  function makeChosen(facet, value, remove) {
    const name = `${facet.label}: ${nameOf(facet, value)}`;
    const cross = make("span", "ed-chosen__remove", "×");
    cross.setAttribute("aria-hidden", "true");
    const button = make("button", "ed-chosen", name, cross);
    button.type = "button";
    button.setAttribute("aria-label", `Remove filter ${name}`);
    button.addEventListener("click", remove);
    return button;
  }

  window.evaldockFacets = { make, makeFacet, makeChosen };
})();

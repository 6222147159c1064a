// What is searched for, as the fragment of an address: #q=math&harness=a&harness=b&sort=name&page=2
(() => {
  "use strict";

  const LONGEST_QUERY = 200;
  const LONGEST_FRAGMENT = 20_000;

  /** @returns {State} */
  function nothing() {
    return { query: "", chosen: new Map(), sort: "best", page: 1 };
  }

  /**
   * The fragment without its "#"; empty when nothing is searched for.
   * @param {State} state
   * @param {Facet[]} facets
   */
  function write(state, facets) {
    const pairs = new URLSearchParams();
    if (state.query) pairs.append("q", state.query);
    for (const { key } of facets) {
      for (const value of state.chosen.get(key) ?? []) pairs.append(key, value);
    }
    if (state.sort !== "best") pairs.append("sort", state.sort);
    if (state.page > 1) pairs.append("page", String(state.page));
    return pairs.toString();
  }

  /**
   * Anybody can have written a fragment: only what the catalog knows is taken over. `ignored` are the values of
   * facets that it doesn't know, so that the page can say so.
   * @param {string} fragment
   * @param {Facet[]} facets
   */
  function read(fragment, facets) {
    const state = nothing();
    /** @type {string[]} */
    const ignored = [];
    const pairs = new URLSearchParams(fragment.replace(/^#/, "").slice(0, LONGEST_FRAGMENT));
    state.query = (pairs.get("q") ?? "").slice(0, LONGEST_QUERY);
    for (const { key, values } of facets) {
      const known = new Set(values);
      const asked = new Set(pairs.getAll(key));
      const taken = new Set([...asked].filter((value) => known.has(value)));
      if (taken.size) state.chosen.set(key, taken);
      ignored.push(...[...asked].filter((value) => !known.has(value)));
    }
    const sort = pairs.get("sort");
    if (sort === "name" || sort === "harness") state.sort = sort;
    const page = pairs.get("page") ?? "";
    if (/^[1-9][0-9]{0,5}$/.test(page)) state.page = Number(page);
    return { state, ignored };
  }

  window.evaldockAddress = { LONGEST_QUERY, nothing, read, write };
})();

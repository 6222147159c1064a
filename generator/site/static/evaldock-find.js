// Searching and filtering: values in, values out, no page.
(() => {
  "use strict";

  const { fold, tokensOf, parse, scoreTask, guess } = window.evaldockWords;

  const UNKNOWN = "unknown";
  // `missing` is how a task's saying nothing is shown.
  const FACETS = [
    { key: "harness", label: "Harness", missing: UNKNOWN },
    { key: "endpoint", label: "Endpoint type", missing: UNKNOWN },
    { key: "capability", label: "Capability", missing: "none declared" },
    { key: "arch", label: "Architecture", missing: UNKNOWN },
  ];
  const MOST = 3000; // above any score

  /**
   * @param {SearchData} data
   * @param {Synonyms[]} synonyms
   * @returns {SearchIndex}
   */
  function build(data, synonyms) {
    const tasks = data.tasks.map((row) => makeTask(row, data));
    const collator = new Intl.Collator("en", { numeric: true });
    const byName = [...tasks.keys()].sort(
      (a, b) => collator.compare(tasks[a].name, tasks[b].name) || tasks[a].harness - tasks[b].harness,
    );
    const harnesses = data.harnesses;
    const byTitle = [...harnesses.keys()].sort((a, b) => collator.compare(harnesses[a].title, harnesses[b].title));
    return {
      tasks,
      facets: [
        makeFacet(FACETS[0], harnesses.map(({ name }) => name), data.tasks.map((row) => [row[1]])),
        makeFacet(FACETS[1], data.endpointTypes, data.tasks.map((row) => row[4])),
        makeFacet(FACETS[2], data.capabilities, data.tasks.map((row) => row[5])),
        makeFacet(FACETS[3], data.architectures, data.tasks.map((row) => row[6])),
      ],
      harnesses,
      byName,
      rank: placesIn(byName),
      harnessRank: placesIn(byTitle),
      synonyms,
      guesses: new Map(),
    };
  }

  /** @param {number[]} order */
  function placesIn(order) {
    const places = new Uint32Array(order.length);
    order.forEach((at, place) => (places[at] = place));
    return places;
  }

  /**
   * @param {SearchRow} row
   * @param {SearchData} data
   * @returns {IndexedTask}
   */
  function makeTask([name, harness, title, description, endpoints, capabilities, , url], data) {
    const owner = data.harnesses[harness];
    const tags = [
      ...endpoints.map((at) => data.endpointTypes[at]),
      ...capabilities.map((at) => data.capabilities[at]),
    ];
    const folded = {
      name: ` ${fold(name)} `,
      title: ` ${fold(title)} `,
      harness: ` ${fold(`${owner.name} ${owner.title}`)} `,
      tags: ` ${fold(tags.join(" "))} `,
      description: ` ${fold(description)} `,
    };
    // "mmlupro" is how some people write mmlu_pro.
    const joined = folded.name.replace(/ /g, "");
    const all = [...Object.values(folded), joined].join("\n");
    const id = tokensOf(`${owner.name} ${name}`).join(" ");
    return { name, harness, title, description, url, folded, joined, id, all };
  }

  /**
   * Saying nothing is a value too: the last one, unless an image itself says "unknown".
   * @param {Pick<Facet, "key" | "label" | "missing">} facet
   * @param {string[]} known
   * @param {number[][]} of
   * @returns {Facet}
   */
  function makeFacet(facet, known, of) {
    const values = known.includes(UNKNOWN) ? known : [...known, UNKNOWN];
    const unknown = [values.indexOf(UNKNOWN)];
    const missing = of.some((has) => has.length === 0);
    return { ...facet, values: missing ? values : known, of: of.map((has) => (has.length ? has : unknown)) };
  }

  /**
   * How well each task answers a query.
   * @param {SearchIndex} index
   * @param {string} query
   * @returns {{ scores: Float64Array, units: Unit[], broad: boolean }}
   */
  function score(index, query) {
    const tokens = tokensOf(query);
    if (!tokens.length) return { scores: new Float64Array(index.tasks.length).fill(1), units: [], broad: false };
    const exact = scoreUnits(index, tokens, false);
    if (exact.scores.some(Boolean)) return { ...exact, broad: false };
    const broad = scoreUnits(index, tokens, true);
    return broad.scores.some(Boolean) ? { ...broad, broad: true } : { ...exact, broad: false };
  }

  /**
   * @param {SearchIndex} index
   * @param {string[]} tokens
   * @param {boolean} broad
   */
  function scoreUnits(index, tokens, broad) {
    const units = parse(tokens, index.synonyms, broad);
    const guesses = units.map(({ groups }) => best(groups.map((group) => guessesOf(index, group))));
    const whole = tokens.join(" ");
    const scores = Float64Array.from(index.tasks, (task, at) => scoreTask(task, at, units, guesses, whole));
    return { scores, units };
  }

  /**
   * @param {Float64Array[]} several
   * @returns {Float64Array | undefined}
   */
  function best(several) {
    if (several.length < 2) return several[0];
    return several[0].map((_, at) => Math.max(...several.map((one) => one[at])));
  }

  /**
   * What each task gets for a group of synonyms; worked out once.
   * @param {SearchIndex} index
   * @param {Synonyms} group
   */
  function guessesOf(index, group) {
    let known = index.guesses.get(group);
    if (!known) {
      known = Float64Array.from(index.tasks, (task) => guess(task, group));
      index.guesses.set(group, known);
    }
    return known;
  }

  /**
   * Works out one more group of synonyms ahead of its first use; false when all are known.
   * @param {SearchIndex} index
   */
  function prepare(index) {
    const group = index.synonyms.find((one) => !index.guesses.has(one));
    if (group) guessesOf(index, group);
    return Boolean(group);
  }

  /**
   * The tasks that fit, best first, and for each facet how many tasks each value would show, given everything
   * else that is chosen. A facet with nothing chosen lets all pass.
   * @param {SearchIndex} index
   * @param {Pick<State, "query" | "chosen" | "sort">} state
   * @returns {Found}
   */
  function select(index, { query, chosen, sort }) {
    const { scores, units, broad } = score(index, query);
    const wanted = index.facets.map((facet) => wantedValues(facet, chosen.get(facet.key)));
    const counts = index.facets.map((facet) => new Uint32Array(facet.values.length));
    /** @type {number[]} */
    const found = [];
    for (let task = 0; task < index.tasks.length; task++) {
      if (scores[task] === 0) continue;
      const failed = [];
      for (let f = 0; f < wanted.length && failed.length < 2; f++) {
        const names = wanted[f];
        if (names && !index.facets[f].of[task].some((value) => names.has(value))) failed.push(f);
      }
      if (failed.length > 1) continue;
      if (failed.length === 0) found.push(task);
      for (let f = 0; f < counts.length; f++) {
        if (failed.length && f !== failed[0]) continue;
        for (const value of index.facets[f].of[task]) counts[f][value]++;
      }
    }
    const by = sort === "best" && !units.length ? "name" : sort;
    return { found: sorted(index, found, scores, by), counts, units, broad };
  }

  /**
   * @param {Facet} facet
   * @param {Set<string> | undefined} names
   */
  function wantedValues(facet, names) {
    const places = new Set([...facet.values.keys()].filter((at) => names?.has(facet.values[at])));
    return places.size ? places : null;
  }

  /**
   * By what `sort` says, then by name. Numbers sort ten times as fast as a comparison function: a key is what
   * comes first (up to 26 bits), then the name's place (20).
   * @param {SearchIndex} index
   * @param {number[]} found
   * @param {Float64Array} scores
   * @param {Sort} sort
   */
  function sorted({ tasks, byName, rank, harnessRank }, found, scores, sort) {
    const shorter = (/** @type {number} */ task) => Math.min(tasks[task].name.length, 255);
    const better = (/** @type {number} */ task) => Math.round((MOST - Math.min(scores[task], MOST)) * 64);
    const first = {
      best: (/** @type {number} */ task) => better(task) * 256 + shorter(task),
      name: () => 0,
      harness: (/** @type {number} */ task) => harnessRank[tasks[task].harness],
    }[sort];
    const keys = Float64Array.from(found, (task) => first(task) * 2 ** 20 + rank[task]).sort();
    return Array.from(keys, (key) => byName[key % 2 ** 20]);
  }

  window.evaldockFind = { UNKNOWN, build, prepare, select };
})();

// Searching and filtering: values in, values out, no page.
(() => {
  "use strict";

  const UNKNOWN = "unknown";
  const FACETS = [
    { key: "harness", label: "Harness", missing: UNKNOWN },
    { key: "endpoint", label: "Endpoint type", missing: UNKNOWN },
    { key: "capability", label: "Capability", missing: "none declared" },
    { key: "arch", label: "Architecture", missing: UNKNOWN },
  ];
  const MAX_TOKENS = 12;
  // A synonym is a guess: it stands below what was typed.
  const GUESS = 0.3;
  const MOST = 3000;

  /** Lower case, without accents, anything between words a space. As long as `text`, so that positions agree. */
  function fold(text) {
    return text
      .replace(/[^\x00-\x7f]/g, foldUnit)
      .toLowerCase()
      .replace(/[\x00-\x2f\x3a-\x60\x7b-\x7f]/g, " ");
  }

  const foldedUnits = new Map();

  function foldUnit(unit) {
    let folded = foldedUnits.get(unit);
    if (folded === undefined) {
      const plain = unit.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
      const kept = plain.length === 1 ? plain : unit;
      // Surrogates stay: half of a letter is no word's end.
      folded = /[\p{L}\p{N}\p{Cs}]/u.test(kept) ? kept : " ";
      foldedUnits.set(unit, folded);
    }
    return folded;
  }

  function words(text) {
    return fold(text).split(" ").filter(Boolean);
  }

  function build(data, synonyms) {
    const lists = [
      data.harnesses.map((harness) => harness.name),
      data.endpointTypes,
      data.capabilities,
      data.architectures,
    ];
    const facets = FACETS.map((facet, which) => makeFacet(facet, lists[which], data.tasks, which));
    const tasks = data.tasks.map((row) => makeTask(row, data));
    const collator = new Intl.Collator("en", { numeric: true });
    const byName = tasks
      .map((_, at) => at)
      .sort((a, b) => collator.compare(tasks[a].name, tasks[b].name) || tasks[a].harness - tasks[b].harness);
    const rank = new Uint32Array(tasks.length);
    byName.forEach((at, place) => (rank[at] = place));
    const harnessRank = new Uint32Array(data.harnesses.length);
    [...data.harnesses.keys()]
      .sort((a, b) => collator.compare(data.harnesses[a].title, data.harnesses[b].title))
      .forEach((at, place) => (harnessRank[at] = place));
    return { tasks, facets, harnesses: data.harnesses, byName, rank, harnessRank, synonyms, guesses: new Map() };
  }

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
    return { name, harness, title, description, url, folded, joined, id: fold(`${owner.name} ${name}`).trim(), all };
  }

  /** `of[task]` are the places in `values` of what the task has. Saying nothing is a value too, "unknown", shown as
   *  `missing`; it stands last unless an image itself says so. */
  function makeFacet(facet, known, rows, which) {
    const values = known.includes(UNKNOWN) ? known : [...known, UNKNOWN];
    const unknown = [values.indexOf(UNKNOWN)];
    const of = rows.map((row) => (which === 0 ? [row[1]] : row[3 + which]));
    const missing = of.some((has) => has.length === 0);
    return { ...facet, values: missing ? values : known, of: of.map((has) => (has.length ? has : unknown)) };
  }

  /** What is searched for: units that must all be found, each as its own tokens or as one of its synonyms. */
  function parse(query, synonyms, broad) {
    const tokens = words(query).slice(0, MAX_TOKENS);
    const units = [];
    for (let at = 0; at < tokens.length; ) {
      const { length, groups } = related(tokens.slice(at), synonyms, broad);
      units.push({ tokens: tokens.slice(at, at + length), groups });
      at += length;
    }
    return units;
  }

  /** The groups of synonyms of the longest phrase that `tokens` start with. The last word may be incomplete. */
  function related(tokens, synonyms, broad) {
    const rest = tokens.join(" ");
    let longest = 1;
    let groups = [];
    for (const group of synonyms) {
      const known = broad ? [...group.words, ...group.names] : group.words;
      const length = Math.max(...known.map((phrase) => phraseLength(phrase, rest, tokens.length)));
      if (length > longest) groups = [];
      if (length >= longest) groups.push(group);
      longest = Math.max(longest, length);
    }
    return { length: longest, groups };
  }

  function phraseLength(phrase, rest, left) {
    if (`${rest} `.startsWith(`${phrase} `)) return phrase.split(" ").length;
    return rest.length >= 4 && phrase.startsWith(rest) ? left : 0;
  }

  /** How well each task answers `query`; 0 for not at all. */
  function score(index, query) {
    const whole = words(query).join(" ");
    if (!whole) return { scores: new Float64Array(index.tasks.length).fill(1), units: [], broad: false };
    for (const broad of [false, true]) {
      const units = parse(query, index.synonyms, broad);
      const scores = new Float64Array(index.tasks.length);
      let any = false;
      for (const unit of units) unit.guesses = unit.groups.map((group) => guesses(index, group));
      index.tasks.forEach((task, at) => {
        scores[at] = scoreTask(task, at, units, whole);
        any ||= scores[at] > 0;
      });
      if (any || broad) return { scores, units, broad: broad && any };
    }
    throw new Error("unreachable");
  }

  function scoreTask(task, at, units, whole) {
    let sum = 0;
    for (const unit of units) {
      let found = scoreTokens(task, unit.tokens);
      for (const guess of unit.guesses) found = Math.max(found, guess[at]);
      if (found === 0) return 0;
      sum += found;
    }
    if (task.folded.name.trim() === whole || task.id === whole) return sum + 1000;
    return task.folded.name.startsWith(` ${whole}`) ? sum + 100 : sum;
  }

  function scoreTokens(task, tokens) {
    let sum = 0;
    for (const token of tokens) {
      const found = scoreToken(task, token);
      if (found === 0) return 0;
      sum += found;
    }
    return sum / tokens.length;
  }

  function scoreToken({ folded, joined, all }, token) {
    if (!all.includes(token)) return 0;
    const start = ` ${token}`;
    if (folded.name.startsWith(start)) return folded.name.length === start.length + 1 ? 100 : 60;
    if (folded.name.includes(start)) return 45;
    if (folded.title.includes(start)) return 20;
    if (folded.harness.includes(start)) return 15;
    if (folded.tags.includes(start)) return 12;
    // Inside a word, one or two letters say nothing. (Scripts without spaces have no other inside.)
    const inside = token.length > 2 || !/^[a-z0-9]+$/.test(token);
    if (inside && (folded.name.includes(token) || joined.includes(token))) return 25;
    if (folded.description.includes(start)) return 8;
    if (!inside) return 0;
    return folded.title.includes(token) || folded.harness.includes(token) ? 6 : 3;
  }

  /** What a folded text contains where a name of the synonyms begins, or stands as a whole word. */
  function startOf(called) {
    return called[0] === "=" ? ` ${called.slice(1)} ` : ` ${called}`;
  }

  /** How well each task answers a group of synonyms; worked out once. */
  function guesses(index, group) {
    let known = index.guesses.get(group);
    if (!known) {
      known = Float64Array.from(index.tasks, (task) => GUESS * scoreGroup(task, group));
      index.guesses.set(group, known);
    }
    return known;
  }

  /** Works out one more group of synonyms ahead of its first use; false when all are known. */
  function prepare(index) {
    const group = index.synonyms.find((one) => !index.guesses.has(one));
    if (group) guesses(index, group);
    return Boolean(group);
  }

  function scoreGroup(task, { words: spoken, names }) {
    let best = 0;
    for (const word of spoken) {
      if (task.all.includes(` ${word}`)) best = Math.max(best, scoreTokens(task, word.split(" ")));
    }
    const { name, title, harness } = task.folded;
    for (const called of names) {
      const start = startOf(called);
      if (name.includes(start)) return Math.max(best, 40);
      if (called[0] !== "=" && (title.includes(start) || harness.includes(start))) best = Math.max(best, 15);
    }
    return best;
  }

  /**
   * The tasks that fit, best first, and for each facet how many tasks each value would show, given everything
   * else that is chosen. A facet with nothing chosen lets all pass.
   */
  function select(index, { query, chosen, sort }) {
    const { scores, units, broad } = score(index, query);
    const wanted = index.facets.map((facet) => wantedValues(facet, chosen.get(facet.key)));
    const counts = index.facets.map((facet) => new Uint32Array(facet.values.length));
    const found = [];
    for (let task = 0; task < index.tasks.length; task++) {
      if (scores[task] === 0) continue;
      let failed = -1;
      let failures = 0;
      for (let f = 0; f < wanted.length && failures < 2; f++) {
        const has = index.facets[f].of[task];
        if (wanted[f] && !has.some((value) => wanted[f].has(value))) {
          failed = f;
          failures++;
        }
      }
      if (failures > 1) continue;
      if (failures === 0) found.push(task);
      for (let f = 0; f < counts.length; f++) {
        if (failures && f !== failed) continue;
        for (const value of index.facets[f].of[task]) counts[f][value]++;
      }
    }
    return { found: sorted(index, found, scores, units.length || sort !== "best" ? sort : "name"), counts, units, broad };
  }

  function wantedValues(facet, names) {
    if (!names || names.size === 0) return null;
    const places = new Set();
    facet.values.forEach((value, at) => names.has(value) && places.add(at));
    return places.size ? places : null;
  }

  /** By what `sort` says, then by name. Numbers sort ten times as fast as a comparison function: a key is what
   *  comes first (up to 26 bits), then the name's place (20). */
  function sorted({ tasks, byName, rank, harnessRank }, found, scores, sort) {
    const first = {
      best: (task) => Math.round((MOST - Math.min(scores[task], MOST)) * 64) * 256 + Math.min(tasks[task].name.length, 255),
      name: () => 0,
      harness: (task) => harnessRank[tasks[task].harness],
    }[sort];
    const keys = Float64Array.from(found, (task) => first(task) * 2 ** 20 + rank[task]).sort();
    return Array.from(keys, (key) => byName[key % 2 ** 20]);
  }

  /** Where `units` or their synonyms occur in `text`: [start, end) pairs, sorted, apart. */
  function marks(text, units) {
    const folded = ` ${fold(text)} `;
    const places = [];
    for (const { tokens, groups } of units) {
      for (const token of tokens) {
        const before = places.length;
        addPlaces(folded, ` ${token}`, places);
        if (places.length === before && token.length > 2) addPlaces(folded, token, places);
      }
      for (const { words: spoken, names } of groups) {
        for (const word of spoken) addPlaces(folded, ` ${word}`, places);
        for (const name of names) addPlaces(folded, startOf(name), places);
      }
    }
    return apart(places);
  }

  /** Positions are those of the text without the space put before it. */
  function addPlaces(folded, wanted, places) {
    const start = wanted.startsWith(" ") ? 0 : -1;
    const length = wanted.trim().length;
    for (let at = folded.indexOf(wanted); at >= 0; at = folded.indexOf(wanted, at + length)) {
      places.push([at + start, at + start + length]);
    }
  }

  function apart(places) {
    places.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    const merged = [];
    for (const [start, end] of places) {
      const last = merged[merged.length - 1];
      if (last && start <= last[1]) last[1] = Math.max(last[1], end);
      else merged.push([start, end]);
    }
    return merged;
  }

  window.evaldockFind = { UNKNOWN, build, prepare, select, marks };
})();

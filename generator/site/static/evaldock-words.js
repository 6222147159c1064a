// What words mean: how text is compared, how well a task answers a query, where in a text the words stand.
(() => {
  "use strict";

  const MAX_TOKENS = 12;
  // A synonym is a guess: it stands below what was typed.
  const GUESS = 0.3;

  /**
   * Lower case, without accents, anything between words a space. As long as `text`, so that positions agree.
   * @param {string} text
   */
  function fold(text) {
    return text
      .replace(/[^\x00-\x7f]/g, foldUnit)
      .toLowerCase()
      .replace(/[\x00-\x2f\x3a-\x60\x7b-\x7f]/g, " ");
  }

  /** @type {Map<string, string>} */
  const foldedUnits = new Map();

  /** @param {string} unit */
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

  /** @param {string} text */
  function tokensOf(text) {
    return fold(text).split(" ").filter(Boolean).slice(0, MAX_TOKENS);
  }

  /**
   * What is searched for: units that must all be found, each as its own tokens or as one of its synonyms.
   * @param {string[]} tokens
   * @param {Synonyms[]} synonyms
   * @param {boolean} broad  whether names lead to their subjects, too
   */
  function parse(tokens, synonyms, broad) {
    /** @type {Unit[]} */
    const units = [];
    for (let at = 0; at < tokens.length; ) {
      const { length, groups } = related(tokens.slice(at), synonyms, broad);
      units.push({ tokens: tokens.slice(at, at + length), groups });
      at += length;
    }
    return units;
  }

  /**
   * The groups of synonyms of the longest phrase that `tokens` start with. The last word may be incomplete.
   * @param {string[]} tokens
   * @param {Synonyms[]} synonyms
   * @param {boolean} broad
   */
  function related(tokens, synonyms, broad) {
    const rest = tokens.join(" ");
    let longest = 1;
    /** @type {Synonyms[]} */
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

  /**
   * @param {string} phrase
   * @param {string} rest
   * @param {number} left
   */
  function phraseLength(phrase, rest, left) {
    if (`${rest} `.startsWith(`${phrase} `)) return phrase.split(" ").length;
    return rest.length >= 4 && phrase.startsWith(rest) ? left : 0;
  }

  /**
   * How well a task answers what is searched for; 0 for not at all.
   * @param {IndexedTask} task
   * @param {number} at
   * @param {Unit[]} units
   * @param {(Float64Array | undefined)[]} guesses  for each unit, what the task at each place gets for its synonyms
   * @param {string} whole  all tokens with a space between
   */
  function scoreTask(task, at, units, guesses, whole) {
    let sum = 0;
    for (let unit = 0; unit < units.length; unit++) {
      const found = Math.max(scoreTokens(task, units[unit].tokens), guesses[unit]?.[at] ?? 0);
      if (found === 0) return 0;
      sum += found;
    }
    if (task.folded.name === ` ${whole} ` || task.id === whole) return sum + 1000;
    return task.folded.name.startsWith(` ${whole}`) ? sum + 100 : sum;
  }

  /**
   * @param {IndexedTask} task
   * @param {string[]} tokens
   */
  function scoreTokens(task, tokens) {
    let sum = 0;
    for (const token of tokens) {
      const found = scoreToken(task, token);
      if (found === 0) return 0;
      sum += found;
    }
    return sum / tokens.length;
  }

  /**
   * @param {IndexedTask} task
   * @param {string} token
   */
  function scoreToken({ folded, joined, all }, token) {
    if (!all.includes(token)) return 0;
    const start = ` ${token}`;
    if (folded.name.startsWith(start)) return folded.name.length === start.length + 1 ? 100 : 60;
    if (folded.name.includes(start)) return 45;
    if (folded.title.includes(start)) return 20;
    if (folded.harness.includes(start)) return 15;
    if (folded.tags.includes(start)) return 12;
    if (inside(token, 3) && (folded.name.includes(token) || joined.includes(token))) return 25;
    if (folded.description.includes(start)) return 8;
    return inside(token, 4) ? 3 : 0;
  }

  /**
   * Whether `token` may be found inside a word: there, few letters say nothing. Scripts that put no spaces between
   * words have no other places.
   * @param {string} token
   * @param {number} least
   */
  function inside(token, least) {
    return token.length >= least || !/^[a-z0-9]+$/.test(token);
  }

  /**
   * What a task gets for being about what a group of synonyms is about.
   * @param {IndexedTask} task
   * @param {Synonyms} group
   */
  function guess(task, { words, names }) {
    let best = 0;
    for (const word of words) {
      if (task.all.includes(` ${word}`)) best = Math.max(best, scoreTokens(task, word.split(" ")));
    }
    const { name, title, harness } = task.folded;
    for (const called of names) {
      const start = startOf(called);
      if (name.includes(start)) return GUESS * Math.max(best, 40);
      if (called[0] !== "=" && (title.includes(start) || harness.includes(start))) best = Math.max(best, 15);
    }
    return GUESS * best;
  }

  /**
   * What a folded text contains where a name of the synonyms begins, or stands as a whole word.
   * @param {string} called
   */
  function startOf(called) {
    return called[0] === "=" ? ` ${called.slice(1)} ` : ` ${called}`;
  }

  /**
   * Where units or their synonyms occur in a text: [start, end) pairs, sorted, apart.
   * @param {string} text
   * @param {Unit[]} units
   */
  function marks(text, units) {
    const folded = ` ${fold(text)} `;
    /** @type {[number, number][]} */
    const places = [];
    for (const { tokens, groups } of units) {
      for (const token of tokens) {
        const before = places.length;
        addPlaces(folded, ` ${token}`, places);
        if (places.length === before && inside(token, 3)) addPlaces(folded, token, places);
      }
      for (const { words, names } of groups) {
        for (const word of words) addPlaces(folded, ` ${word}`, places);
        for (const name of names) addPlaces(folded, startOf(name), places);
      }
    }
    return apart(places);
  }

  /**
   * Positions are those of the text without the space put before it.
   * @param {string} folded
   * @param {string} wanted
   * @param {[number, number][]} places
   */
  function addPlaces(folded, wanted, places) {
    const start = wanted.startsWith(" ") ? 0 : -1;
    const length = wanted.trim().length;
    for (let at = folded.indexOf(wanted); at >= 0; at = folded.indexOf(wanted, at + length)) {
      places.push([at + start, at + start + length]);
    }
  }

  /** @param {[number, number][]} places */
  function apart(places) {
    places.sort((a, b) => a[0] - b[0] || b[1] - a[1]);
    /** @type {[number, number][]} */
    const merged = [];
    for (const [start, end] of places) {
      const last = merged[merged.length - 1];
      if (last && start <= last[1]) last[1] = Math.max(last[1], end);
      else merged.push([start, end]);
    }
    return merged;
  }

  window.evaldockWords = { fold, tokensOf, parse, scoreTask, guess, marks };
})();

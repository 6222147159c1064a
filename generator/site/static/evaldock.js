// On every page: buttons that copy commands, tables that can be sorted and narrowed. Without it nothing is missing
// but these.
(() => {
  "use strict";

  const SHOWN = 2000; // ms that a button says what it did
  const LONG_TABLE = 8;
  const QUIET = 400; // ms without typing before a screen reader is told what is left

  /** Tells screen readers. The region has to be there before its text changes. */
  const said = document.createElement("p");
  said.className = "visually-hidden";
  said.setAttribute("role", "status");
  document.body.append(said);

  // Copying

  /** @param {string} text */
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyBySelection(text);
    }
  }

  /**
   * Where there is no clipboard to write to: plain http, an older browser, a refused permission.
   * @param {string} text
   */
  function copyBySelection(text) {
    const before = document.activeElement;
    const field = document.createElement("textarea");
    field.value = text;
    field.className = "visually-hidden";
    field.setAttribute("aria-hidden", "true");
    document.body.append(field);
    field.select();
    const done = document.execCommand("copy");
    field.remove();
    if (before instanceof HTMLElement) before.focus();
    return done;
  }

  /**
   * What a reader would type: without prompts, the output of commands, line numbers.
   * @param {Element} block
   */
  function typed(block) {
    const copied = document.createElement("pre");
    copied.append(...[...block.childNodes].map((node) => node.cloneNode(true)));
    const session = copied.querySelector(".gp") !== null;
    for (const extra of copied.querySelectorAll(".gp, .go, .linenos")) extra.remove();
    const text = copied.textContent.trim();
    return session ? text.replace(/\n{2,}/g, "\n") : text;
  }

  /** @param {HTMLElement} button */
  function textFor(button) {
    if (button.dataset.edCopyText !== undefined) return button.dataset.edCopyText;
    const source = document.getElementById(button.dataset.edCopy ?? "");
    if (source) return source.textContent.trim();
    const block = button.parentElement?.querySelector("pre");
    return block ? typed(block) : "";
  }

  function addCopyButtons() {
    for (const block of document.querySelectorAll(".bd-article div.highlight")) {
      if (!block.querySelector("pre")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "ed-copy";
      button.dataset.edCopy = "";
      button.textContent = "Copy";
      button.setAttribute("aria-label", "Copy this code");
      block.append(button);
    }
  }

  let silence = 0;
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element && event.target.closest(".ed-copy");
    if (!(button instanceof HTMLElement)) return;
    const done = await copy(textFor(button));
    button.textContent = done ? "Copied" : "Not copied";
    said.textContent = done ? "Copied" : "This browser doesn't let a page copy. Select the text instead.";
    window.setTimeout(() => (button.textContent = "Copy"), SHOWN);
    // What is said of this one isn't taken back on account of the one before.
    window.clearTimeout(silence);
    silence = window.setTimeout(() => (said.textContent = ""), SHOWN);
  });

  // Tables

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  /** @param {HTMLTableElement} table */
  function makeSortable(table) {
    const [body] = table.tBodies;
    const headers = [...(table.tHead?.rows[0].cells ?? [])];
    headers.forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "ed-sort";
      button.append(...header.childNodes);
      header.append(button);
      button.addEventListener("click", () => {
        const down = header.getAttribute("aria-sort") === "ascending";
        for (const other of headers) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", down ? "descending" : "ascending");
        const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].textContent.trim() }));
        rows.sort((a, b) => (down ? -1 : 1) * collator.compare(a.text, b.text));
        body.append(...rows.map(({ row }) => row));
      });
    });
  }

  /** @param {HTMLTableElement} table */
  function makeFilterable(table) {
    const rows = [...table.tBodies[0].rows].map((row) => ({ row, text: row.textContent.toLowerCase() }));
    const field = document.createElement("input");
    field.type = "search";
    field.className = "ed-tools__filter";
    field.placeholder = "Narrow this table";
    field.setAttribute("aria-label", "Show only the rows with these words");
    const count = document.createElement("p");
    count.className = "ed-tools__count";
    const tools = document.createElement("div");
    tools.className = "ed-tools";
    tools.append(field, count);
    (table.parentElement ?? table).before(tools);
    let waiting = 0;
    function show() {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      let left = 0;
      for (const { row, text } of rows) {
        row.hidden = !words.every((word) => text.includes(word));
        left += Number(!row.hidden);
      }
      count.textContent = words.length ? `${left} of ${rows.length} rows` : `${rows.length} rows`;
    }
    field.addEventListener("input", () => {
      show();
      window.clearTimeout(waiting);
      waiting = window.setTimeout(() => (said.textContent = count.textContent), QUIET);
    });
    show();
  }

  addCopyButtons();
  for (const table of document.querySelectorAll("table.ed-tasks")) {
    if (!(table instanceof HTMLTableElement)) continue;
    if (table.tBodies[0].rows.length < LONG_TABLE) continue;
    makeSortable(table);
    makeFilterable(table);
  }
})();

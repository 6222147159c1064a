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

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return copyBySelection(text);
    }
  }

  /** Where there is no clipboard to write to: plain http, an older browser, a refused permission. */
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

  /** What a reader would type: without prompts, the output of commands, line numbers. */
  function typed(block) {
    const copied = block.cloneNode(true);
    for (const extra of copied.querySelectorAll(".gp, .go, .linenos")) extra.remove();
    return copied.textContent.replace(/\n{2,}/g, "\n").trim();
  }

  function textFor(button) {
    if (button.dataset.edCopyText !== undefined) return button.dataset.edCopyText;
    const source = document.getElementById(button.dataset.edCopy ?? "");
    return source ? source.textContent.trim() : typed(button.parentElement.querySelector("pre"));
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

  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element && event.target.closest(".ed-copy");
    if (!(button instanceof HTMLElement)) return;
    const done = await copy(textFor(button));
    button.textContent = done ? "Copied" : "Not copied";
    said.textContent = done ? "Copied" : "This browser doesn't let a page copy. Select the text instead.";
    window.setTimeout(() => {
      button.textContent = "Copy";
      said.textContent = "";
    }, SHOWN);
  });

  // Tables

  const collator = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

  function cellText(row, column) {
    return row.cells[column]?.textContent.trim() ?? "";
  }

  function makeSortable(table) {
    const [body] = table.tBodies;
    const headers = [...table.tHead.rows[0].cells];
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
        const rows = [...body.rows].map((row) => ({ row, text: cellText(row, column) }));
        rows.sort((a, b) => (down ? -1 : 1) * collator.compare(a.text, b.text));
        body.append(...rows.map(({ row }) => row));
      });
    });
  }

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
    table.parentElement.before(tools);
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
    if (table.tBodies[0].rows.length < LONG_TABLE) continue;
    makeSortable(table);
    makeFilterable(table);
  }
})();

// What a reader does on the pages of a site. Each function is called by a test of the same folder.

/** Opens a page and follows `steps`, a list of [verb, ...]; gives back what the reader sees after each "look". */
export async function browse(page, { url, steps = [] }) {
  await page.goto(url);
  const seen = [];
  for (const [verb, ...rest] of steps) {
    if (verb === "look") seen.push(await look(page));
    else await verbs[verb](page, ...rest);
  }
  return seen;
}

const verbs = {
  type: (page, words) => page.getByLabel("Words in a task's").fill(words),
  ask: async (page, words) => {
    await page.getByRole("searchbox", { name: "Find a task" }).fill(words);
    await page.keyboard.press("Enter");
    await page.waitForURL(/browse/);
  },
  keys: async (page, ...keys) => {
    for (const key of keys) await page.keyboard.press(key);
  },
  tick: (page, facet, value) => boxOf(page, facet, value).check(),
  untick: (page, facet, value) => boxOf(page, facet, value).uncheck(),
  press: (page, name) => page.getByRole("button", { name }).click(),
  sort: (page, by) => page.getByLabel("Sort by").selectOption({ label: by }),
  unfold: (page) => page.getByText("Filters").click(),
  narrow: (page, words) => page.getByPlaceholder("Narrow").first().fill(words),
  back: (page) => page.goBack(),
  forward: (page) => page.goForward(),
  reload: (page) => page.reload(),
  // Typing settles: the count is announced, the address follows.
  wait: (page) => page.waitForTimeout(600),
  told: (page) => page.locator("[data-ed=said]:not(:empty)").waitFor({ state: "attached" }),
  // From here on the page's own time stands still but for what is let pass.
  hold: async (page) => {
    await page.clock.install();
    await page.clock.pauseAt(Date.now() + 1000);
  },
  pass: (page, milliseconds) => page.clock.runFor(milliseconds),
  arrive: (page) => page.waitForURL((url) => !url.pathname.includes("browse")),
};

function boxOf(page, facet, value) {
  return page.getByRole("group", { name: facet }).getByRole("checkbox", { name: new RegExp(`^${value}\\b`) });
}

function look(page) {
  return page.evaluate(() => {
    const text = (element) => element?.textContent.trim() ?? "";
    const shown = (selector) => [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
    const facets = {};
    for (const group of shown(".ed-facet")) {
      facets[text(group.querySelector("legend"))] = Object.fromEntries(
        [...group.querySelectorAll("label")]
          .filter((label) => label.checkVisibility())
          .map((label) => [text(label.querySelector(".ed-facet__name")), parseInt(label.querySelector(".ed-facet__count").textContent.replace(",", ""))]),
      );
    }
    return {
      summary: text(document.querySelector("[data-ed=summary]")),
      said: text(document.querySelector("[data-ed=said]")),
      note: shown("[data-ed=note]").map(text).join(),
      hits: shown(".ed-hit").map((hit) => ({
        name: text(hit.querySelector(".ed-hit__name")),
        href: hit.querySelector(".ed-hit__name").getAttribute("href"),
        harness: text(hit.querySelector(".ed-hit__harness")),
        tags: [...hit.querySelectorAll(".ed-tag")].map(text),
        marked: [...hit.querySelectorAll("mark")].map(text),
      })),
      facets,
      ticked: shown(".ed-facet input:checked").map((box) => box.value),
      chosen: shown(".ed-chosen").map((button) => button.getAttribute("aria-label")),
      query: document.querySelector("#ed-query")?.value,
      fragment: location.hash,
      search: location.search,
      title: document.title,
      focus: text(document.activeElement) || document.activeElement.id || document.activeElement.value,
      pages: shown("[data-ed=page]").map(text).join(),
    };
  });
}

export async function title(page, { url }) {
  await page.goto(url);
  return page.title();
}

/** What stands on a page without script: links of the article, buttons and fields that do nothing. */
export async function still(page, { url }) {
  await page.goto(url);
  return {
    text: await page.locator(".bd-article").innerText(),
    links: await page.locator(".bd-article a:visible").evaluateAll((all) => all.map((link) => link.href)),
    controls: await page.locator(".bd-article :is(button, input, select):visible").evaluateAll((all) => all.map((one) => one.outerHTML)),
  };
}

/** The names of all elements of some pages. */
export async function elements(page, { urls }) {
  const names = new Set();
  for (const url of urls) {
    await page.goto(url);
    for (const name of await page.evaluate(() => [...document.querySelectorAll("*")].map((one) => one.localName))) names.add(name);
  }
  return [...names];
}

/** For each page, elements and attributes that no page of ours has, however the text of an image got to be them;
 *  and the page's text. */
export async function injected(page, { urls, allowed, steps = [] }) {
  const seen = [];
  for (const url of urls) {
    await browse(page, { url, steps });
    for (const summary of await page.locator("details:not([open]) > summary").all()) await summary.click();
    seen.push(await page.evaluate(findInjected, allowed));
  }
  return seen;
}

function findInjected(allowed) {
  const found = [];
  for (const element of document.querySelectorAll("*")) {
    const tag = element.localName;
    if (!allowed.includes(tag)) found.push(`<${tag}>`);
    for (const { name, value } of element.attributes) {
      if (/^on/i.test(name)) found.push(`${tag} ${name}`);
      if (/^\s*(javascript|data|vbscript):/i.test(value) && !name.startsWith("data-")) found.push(`${tag} ${name} ${value.slice(0, 80)}`);
    }
    if (tag === "script" && /alert/.test(element.textContent)) found.push(`script ${element.textContent.slice(0, 80)}`);
  }
  return { found, text: document.querySelector(".bd-article").textContent };
}

/** For each page, its parts that stick out of it sideways. */
export async function overflow(page, { urls, steps = [] }) {
  const seen = [];
  for (const url of urls) {
    await browse(page, { url, steps });
    seen.push(await page.evaluate(findOverflow));
  }
  return seen;
}

function findOverflow() {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("body *")]
    .filter((element) => element.getBoundingClientRect().right > width + 1 && element.checkVisibility())
    .map((element) => `${element.localName}.${element.className} to ${Math.round(element.getBoundingClientRect().right)}`);
}

/** What axe-core finds serious or critical. */
export async function axe(page, { url, modules, steps = [] }) {
  await browse(page, { url, steps });
  await page.addScriptTag({ path: `${modules}/node_modules/axe-core/axe.min.js` });
  const results = await page.evaluate(() => window.axe.run({ resultTypes: ["violations"], preload: false }));
  const theme = await page.evaluate(() => document.documentElement.dataset.theme);
  const violations = results.violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).slice(0, 3).join("; ")}`);
  return { theme, rules: results.passes.length, violations };
}

/** Presses each copy button of a page; `without` takes the clipboard's interface away first. */
export async function copied(page, { url, without = false }) {
  if (without) await page.addInitScript(() => Object.defineProperty(navigator, "clipboard", { value: undefined }));
  await page.goto(url);
  const texts = [];
  // What the page put there is read back by pasting, as a reader would.
  await page.evaluate(() => {
    const field = document.createElement("textarea");
    field.id = "paste-here";
    document.body.append(field);
  });
  for (const summary of await page.locator("details:not([open]) > summary").all()) await summary.click();
  await verbs.hold(page); // what is said stays to be read
  for (const button of await page.locator(".ed-copy:visible").all()) {
    const status = page.locator("[role=status]").last();
    await status.evaluate((one) => (one.textContent = "")); // what was said of the one before
    await button.click();
    await status.filter({ hasText: "Copied" }).waitFor({ state: "attached" });
    const said = await status.textContent();
    const focused = await button.evaluate((one) => one === document.activeElement);
    await page.locator("#paste-here").fill("");
    await page.locator("#paste-here").press("Control+V");
    texts.push({ label: await button.getAttribute("aria-label"), text: await page.locator("#paste-here").inputValue(), said, focused });
  }
  return texts;
}

/** A table before and after each of `steps`: its visible rows' first cells, and which column is sorted. */
export async function table(page, { url, steps }) {
  await page.goto(url);
  const seen = [];
  for (const [verb, value] of steps) {
    if (verb === "narrow") await page.getByLabel("Show only the rows with these words").fill(value);
    if (verb === "sort") await page.getByRole("columnheader").getByRole("button", { name: value }).click();
    if (verb === "wait") await page.waitForTimeout(600);
    seen.push(
      await page.evaluate(() => ({
        rows: [...document.querySelectorAll("table.ed-tasks tbody tr:not([hidden])")].map((row) => row.cells[0].textContent.trim()),
        count: document.querySelector(".ed-tools__count").textContent,
        said: [...document.querySelectorAll("[role=status]")].at(-1).textContent,
        sorted: [...document.querySelectorAll("[aria-sort]")].map((header) => `${header.textContent.trim()} ${header.ariaSort}`),
      })),
    );
  }
  return seen;
}

// Runs page scripts in Chromium: a request is a line of JSON on standard input, its answer one on standard output.
//
//   {script, name, given, context}  →  {value, elsewhere, dialogs, errors}  or  {error}
//
// `script` is an .mjs file that exports `name(page, given)`; `context` are playwright's options for a new profile.

import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const settings = JSON.parse(process.argv[2]);
const { chromium } = createRequire(`${settings.modules}/package.json`)("playwright-core");

const browser = await chromium.launch({
  executablePath: settings.program,
  args: settings.flags,
  chromiumSandbox: !settings.flags.includes("--no-sandbox"),
});
try {
  for await (const line of createInterface({ input: process.stdin })) {
    process.stdout.write(`${JSON.stringify(await answer(JSON.parse(line)))}\n`);
  }
} finally {
  await browser.close();
}

async function answer({ script, name, given, context: options }) {
  const elsewhere = [];
  const dialogs = [];
  const errors = [];
  const context = await browser.newContext(options);
  try {
    context.setDefaultTimeout(10_000);
    await context.route(isElsewhere, (route) => {
      elsewhere.push(route.request().url());
      return route.abort();
    });
    context.on("dialog", (dialog) => {
      dialogs.push(dialog.message());
      return dialog.dismiss();
    });
    context.on("weberror", (error) => errors.push(String(error.error())));
    context.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    const page = await context.newPage();
    const scripts = await import(pathToFileURL(script).href);
    const value = await scripts[name](page, { modules: settings.modules, ...given });
    return { value, elsewhere, dialogs, errors };
  } catch (error) {
    return { error: [error.stack, ...errors].join("\n") };
  } finally {
    await context.close();
  }
}

function isElsewhere(url) {
  return !["file:", "data:", "blob:", "about:"].includes(url.protocol);
}

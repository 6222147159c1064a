// Asks GitHub's own packages, a line of JSON for each question: what an expression comes to, what is wrong with a
// workflow or an action. `node actions.mjs FOLDER`, where FOLDER/node_modules holds them.
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath, pathToFileURL } from "node:url";

// The packages import JSON as bundlers do, without saying so; Node wants to be told.
registerHooks({
  load: (url, context, next) =>
    url.endsWith(".json") && context.importAttributes?.type !== "json"
      ? { format: "module", source: `export default ${readFileSync(fileURLToPath(url), "utf8")}`, shortCircuit: true }
      : next(url, context),
});

const from = (path) => import(pathToFileURL(join(process.argv[2], "node_modules", path)).href);
const { Lexer, Parser, Evaluator, data } = await from("@actions/expressions/dist/index.js");
const STATUS = ["success", "failure", "always", "cancelled"];

function evaluate({ expression, contexts, status }) {
  const functions = STATUS.map((name) => ({ name, minArgs: 0, maxArgs: 0 }));
  const calls = new Map(
    functions.map((each) => [each.name, { ...each, call: () => new data.BooleanData(status[each.name]) }]),
  );
  const tokens = new Lexer(expression).lex().tokens;
  const tree = new Parser(tokens, Object.keys(contexts), functions).parse();
  const known = JSON.parse(JSON.stringify(contexts), data.reviver);
  const found = new Evaluator(tree, known, calls).evaluate();
  const text = found.coerceString();
  return { value: JSON.parse(JSON.stringify(found, data.replacer) ?? "null"), text, truthy: truthy(found) };
}

// The runner's rule: false, 0, -0, "", null and NaN count as false.
function truthy(found) {
  const value = JSON.parse(JSON.stringify(found, data.replacer) ?? "null");
  return !(value === false || value === 0 || value === "" || value === null);
}

let service;
async function validate({ uri, text }) {
  service ??= {
    ...(await from("@actions/languageservice/dist/index.js")),
    ...(await from("vscode-languageserver-textdocument/lib/esm/main.js")),
  };
  const found = await service.validate(service.TextDocument.create(uri, "yaml", 1, text), {});
  return found.map((each) => ({
    line: each.range.start.line + 1,
    severity: each.severity ?? 1,
    message: each.message,
  }));
}

for await (const line of createInterface({ input: process.stdin })) {
  const question = JSON.parse(line);
  let answer;
  try {
    answer = { answer: question.uri ? await validate(question) : evaluate(question) };
  } catch (error) {
    answer = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
}

// Reads traces with speedscope's own importer:
//
//     node speedscope_import.js FOLDER TRACE…
//
// FOLDER holds the bundle of speedscope's page (dist/release of its npm package). The answer on standard output is a list
// for each trace of {warnings, profiles}: a profile has a name, and calls as [name, start, end, depth].
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [folder, ...traces] = process.argv.slice(2);
const bundle = fs.readdirSync(folder).find((name) => /^speedscope-.*\.js$/.test(name));
const source = fs.readFileSync(path.join(folder, bundle), 'utf8');

// The page loads its importer first. The rest of it needs a browser, and may fail.
const load = /Promise\.resolve\(\)\.then\(\(\)=>\((\w+\(\)),(\w+)\)\)/.exec(source);
const warnings = [];
const warn = (...words) => warnings.push(words.map(String).join(' '));
const anything = new Proxy(function () {}, {
  get: (_, key) => (key === Symbol.toPrimitive ? () => '' : anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything,
});
const context = vm.createContext({
  console: { log() {}, warn, error: warn },
  self: anything, window: anything, document: anything, navigator: anything, location: anything, fetch: anything,
  TextDecoder, TextEncoder, URL, setTimeout, performance,
});
try {
  vm.runInContext(source.replace(load[0], `(globalThis.importer=(${load[1]},${load[2]}),Promise.resolve())`), context);
} catch (error) {
  if (!context.importer) throw error;
}

function calls(profile) {
  const found = [];
  const open = [];
  profile.forEachCall(
    (node, at) => open.push(found.push([node.frame.name, at, null, open.length]) - 1),
    (_, at) => { found[open.pop()][2] = at; });
  return found;
}

async function main() {
  const answers = [];
  for (const trace of traces) {
    warnings.length = 0;
    const group = await context.importer.importProfileGroupFromText('trace.json', fs.readFileSync(trace, 'utf8'));
    const profiles = group.profiles.map((profile) => ({ name: profile.getName(), calls: calls(profile) }));
    answers.push({ warnings: [...warnings], profiles });
  }
  process.stdout.write(JSON.stringify(answers));
}

main();

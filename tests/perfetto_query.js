// Answers questions about traces with Perfetto's own trace processor:
//
//     node perfetto_query.js FOLDER < {"traces": [path, …], "sql": [statement, …]}
//
// FOLDER holds the engine of Perfetto's web page (engine_bundle.js and its WebAssembly). The answer on standard output
// is a list for each trace, of a list for each statement, of rows. Exits with 1 and a line on standard error where the
// engine refuses a trace or a statement.
'use strict';
const fs = require('fs');
const path = require('path');
const vm = require('vm');

const [APPEND, FINALIZE, QUERY, RESET] = [1, 2, 3, 11]; // methods of the trace processor's RPC
const READY_MS = 60_000;

// --- protobuf, as far as the RPC needs it ---

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

const number = (field, value) => Buffer.concat([varint(field * 8), varint(value)]);
const bytes = (field, body) => Buffer.concat([varint(field * 8 + 2), varint(body.length), body]);

function readVarint(buffer, at) {
  let value = 0n;
  for (let shift = 0n; ; shift += 7n) {
    const byte = buffer[at++];
    value |= BigInt(byte & 127) << shift;
    if (byte < 128) return [value, at];
  }
}

function* varints(buffer) {
  for (let value, at = 0; at < buffer.length; ) {
    [value, at] = readVarint(buffer, at);
    yield value;
  }
}

function* fields(buffer) {
  for (let tag, value, at = 0; at < buffer.length; ) {
    [tag, at] = readVarint(buffer, at);
    const wire = Number(tag & 7n);
    if (wire === 0) {
      [value, at] = readVarint(buffer, at);
    } else {
      let size = wire === 1 ? 8 : 4;
      if (wire === 2) [size, at] = readVarint(buffer, at);
      value = buffer.subarray(at, (at += Number(size)));
    }
    yield [Number(tag >> 3n), value];
  }
}

// --- the engine, which takes itself for a worker of the web page ---

async function startEngine(folder) {
  const read = (url) => fs.readFileSync(path.join(folder, path.basename(String(url))));
  let unread = Buffer.alloc(0);
  let replies = [];
  const port = {
    postMessage(data) {
      unread = Buffer.concat([unread, data]);
      while (unread.length) {
        const [size, at] = readVarint(unread, 1);
        const end = at + Number(size);
        if (unread.length < end) return;
        replies.push([...fields(unread.subarray(at, end))]);
        unread = unread.subarray(end);
      }
    },
  };
  const location = { href: 'http://localhost/engine/engine_bundle.js' };
  const context = vm.createContext({
    console: { log() {}, warn() {}, error: console.error },
    TextDecoder, URL, Response, crypto, performance, setTimeout, location,
    self: { location },
    WorkerGlobalScope: function () {},
    fetch: async (url) => new Response(read(url), { headers: { 'Content-Type': 'application/wasm' } }),
    XMLHttpRequest: class {
      open(_, url) { this.url = url; }
      send() { this.response = new Uint8Array(read(this.url)).buffer; }
    },
  });
  vm.runInContext(read('engine_bundle.js').toString(), context);
  context.self.onmessage({ data: port });

  const newArray = vm.runInContext('(length) => new Uint8Array(length)', context); // the engine checks the class
  let calls = 0;
  const call = (method, argument = Buffer.alloc(0)) => {
    const message = bytes(1, Buffer.concat([number(1, calls++), number(2, method), argument]));
    const data = newArray(message.length);
    data.set(message);
    replies = [];
    port.onmessage({ data });
    return replies.flat();
  };
  for (const start = Date.now(); ; ) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    try {
      if (rows(call, 'select 1 as one')[0].one === 1) return call;
    } catch (error) {
      if (Date.now() - start > READY_MS) throw error;
    }
  }
}

function load(call, trace) {
  for (const [field, result] of call(APPEND, bytes(101, trace))) {
    const error = field === 201 && [...fields(result)].find(([inner]) => inner === 2);
    if (error) throw new Error(`the trace is refused: ${error[1]}`);
  }
  call(FINALIZE);
}

function rows(call, sql) {
  const columns = [];
  const cells = [];
  for (const [field, result] of call(QUERY, bytes(103, bytes(1, Buffer.from(sql))))) {
    if (field === 5) throw new Error(String(result));
    if (field !== 203) continue;
    for (const [inner, value] of fields(result)) {
      if (inner === 1) columns.push(String(value));
      else if (inner === 2) throw new Error(`${sql}: ${value}`);
      else if (inner === 3) cells.push(...cellsOf(value));
    }
  }
  return Array.from({ length: cells.length / columns.length }, (_, row) =>
    Object.fromEntries(columns.map((column, index) => [column, cells[row * columns.length + index]])));
}

function cellsOf(batch) {
  const [NUMBER, FLOAT, TEXT] = [2, 3, 4];
  let types = [];
  const values = { [NUMBER]: [], [FLOAT]: [], [TEXT]: [] };
  for (const [field, body] of fields(batch)) {
    if (field === 1) types = [...body];
    else if (field === 2) for (const value of varints(body)) values[NUMBER].push(Number(BigInt.asIntN(64, value)));
    else if (field === 3) for (let at = 0; at < body.length; at += 8) values[FLOAT].push(body.readDoubleLE(at));
    else if (field === 5) values[TEXT] = String(body).split('\0');
  }
  const taken = { [NUMBER]: 0, [FLOAT]: 0, [TEXT]: 0 };
  return types.map((type) => (type in values ? values[type][taken[type]++] : null));
}

async function main() {
  const { traces, sql } = JSON.parse(fs.readFileSync(0));
  const call = await startEngine(process.argv[2]);
  const answers = traces.map((trace) => {
    call(RESET);
    load(call, fs.readFileSync(trace));
    return sql.map((statement) => rows(call, statement));
  });
  process.stdout.write(JSON.stringify(answers), () => process.exit(0));
}

main().catch((error) => {
  console.error(String(error.message || error));
  process.exit(1);
});

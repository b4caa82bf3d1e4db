"use strict";
// Numbers as `_units.py` writes them, and elements. Every text of the run goes through textContent.

const RUN = JSON.parse(document.getElementById("run").textContent);
const UNKNOWN = "-";

const SCALES = [[1, "s"], [1e-3, "ms"], [1e-6, "\u00b5s"], [1e-9, "ns"]];
const SPANS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function count(number) {
  return rounded(number).toLocaleString("en-US");
}

// Python rounds halves to even numbers, in fixed() as well.
function rounded(number) {
  const near = Math.round(number);
  return near - number === 0.5 && near % 2 ? near - 1 : near;
}

function fixed(number, digits) {
  const scaled = number * 10 ** digits;
  const isHalf = scaled % 1 === 0.5 && Number.isInteger(number * 2 ** (digits + 1));
  return isHalf ? (rounded(scaled) / 10 ** digits).toFixed(digits) : number.toFixed(digits);
}

const threeDigits = (number) => (Number(fixed(number, 1)) < 100 ? fixed(number, 1) : fixed(number, 0));

function duration(seconds) {
  if (seconds < 0) return `-${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 1) {
    const whole = rounded(seconds * 1e9);
    if (whole < 1000) return `${whole} ns`;
    for (const [factor, unit] of [[1e6, "\u00b5s"], [1e3, "ms"]]) {
      if (rounded(seconds * factor) < 1000) return `${threeDigits(seconds * factor)} ${unit}`;
    }
  }
  if (Number(fixed(seconds, 1)) < 60) return `${fixed(seconds, 1)} s`;
  if (rounded(seconds) < 3600) return twoUnits(rounded(seconds), 60, "min", "s");
  if (rounded(seconds / 60) * 60 < 86400) return twoUnits(rounded(seconds / 60), 60, "h", "min");
  const days = seconds / 86400;
  if (days >= 1e6) return `${days.toExponential(0).replace(/[+](\d)$/, "+0$1")} d`;
  return days >= 100 ? `${count(days)} d` : twoUnits(rounded(seconds / 3600), 24, "d", "h");
}

function twoUnits(whole, size, unit, smaller) {
  const small = whole % size;
  return `${Math.floor(whole / size)} ${unit}${small ? ` ${small} ${smaller}` : ""}`;
}

function rate(perSecond) {
  for (const [scale, unit] of [...SPANS].reverse()) {
    const value = perSecond * scale;
    if (value >= 1) return `${Number(fixed(value, 1)) < 100 ? fixed(value, 1) : count(value)}/${unit}`;
  }
  return UNKNOWN;
}

function percentage(part) {
  return part > 0 && part < 0.01 ? "<1%" : `${fixed(100 * part, 0)}%`;
}

// A moment in the run, as exact as the distance to the next one asks for: 2 min 3.250 s.
function moment(seconds, step) {
  if (!seconds) return "0";
  if (seconds < 0) return `-${moment(-seconds, step)}`;
  if (step >= 1 && seconds >= 60) return spans(Math.round(seconds), 3).replace(/( 0 (h|min|s))+$/, "");
  const [scale, unit] = SCALES.find(([scale]) => seconds >= scale) || SCALES[3];
  const digits = Math.max(0, Math.min(12, Math.ceil(Math.log10(scale / step) - 1e-6)));
  if (seconds < 60) return `${(seconds / scale).toFixed(digits)} ${unit}`;
  const minutes = Math.floor(seconds / 60) * 60;
  return `${spans(minutes, 4).replace(/ 0 s$/, "")} ${(seconds - minutes).toFixed(digits)} s`;
}

function spans(seconds, parts) {
  const texts = [];
  for (const [scale, unit] of SPANS) {
    const value = Math.floor(seconds / scale);
    seconds -= value * scale;
    if (value || texts.length) texts.push(`${count(value)} ${unit}`);
    if (texts.length === parts) break;
  }
  return texts.join(" ");
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

function button(attributes, words, act) {
  const made = element("button", { type: "button", ...attributes }, ...[words].flat());
  made.addEventListener("click", act);
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

// A name on one line, which gives way in its middle: long names differ at either end.
function line(text, length) {
  const plain = text.replace(/\s+/gu, " ").trim() || "(no name)";
  const letters = Array.from(plain);
  const half = length >> 1;
  return letters.length > length ? [...letters.slice(0, half), "\u2026", ...letters.slice(half + 1 - length)].join("") : plain;
}

const $ = (id) => document.getElementById(id);
const put = (id, ...children) => $(id).append(...children);
const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

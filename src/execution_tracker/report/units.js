"use strict";
// Numbers and elements as people read them. Every text of the run goes through textContent.

const RUN = JSON.parse(document.getElementById("run").textContent);

const SCALES = [[1, "s"], [1e-3, "ms"], [1e-6, "\u00b5s"], [1e-9, "ns"]];
const SPANS = [[86400, "d"], [3600, "h"], [60, "min"], [1, "s"]];

function count(number) {
  return Math.round(number).toLocaleString("en-US");
}

// A duration in three digits, or from a minute on in its two largest units: 1.25 ms, 3 min 20 s.
function duration(seconds) {
  if (seconds < 0) return `\u2212${duration(-seconds)}`;
  if (seconds === 0) return "0 s";
  if (seconds < 59.95) {
    const [scale, unit] = SCALES.find(([scale]) => seconds >= 0.9995 * scale) || SCALES[3];
    const value = seconds / scale;
    const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
    return `${value.toFixed(unit === "ns" ? 0 : digits)} ${unit}`;
  }
  const [hour, day] = [3600, 86400];
  // Rounded to the smaller of the two units.
  const exact = Math.round(seconds) < hour ? 1 : Math.round(seconds / 60) * 60 < day ? 60 : hour;
  if (seconds >= 1e6 * day) return `${(seconds / day).toExponential(0)} d`;
  return spans(Math.round(seconds / exact) * exact, 2).replace(/ 0 \w+$/, "");
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

// A moment in the run, as exact as the distance to the next one asks for: 2 min 3.250 s.
function moment(seconds, step) {
  if (!seconds) return "0";
  if (seconds < 0) return `\u2212${moment(-seconds, step)}`;
  if (step >= 1 && seconds >= 60) return spans(Math.round(seconds), 3).replace(/( 0 (h|min|s))+$/, "");
  const [scale, unit] = SCALES.find(([scale]) => seconds >= scale) || SCALES[3];
  const digits = Math.max(0, Math.min(12, Math.ceil(Math.log10(scale / step) - 1e-6)));
  if (seconds < 60) return `${(seconds / scale).toFixed(digits)} ${unit}`;
  const minutes = Math.floor(seconds / 60) * 60;
  return `${spans(minutes, 4).replace(/ 0 s$/, "")} ${(seconds - minutes).toFixed(digits)} s`;
}

function rate(perSecond) {
  for (const [scale, unit] of [...SPANS].reverse()) {
    const value = perSecond * scale;
    if (value >= 1) return `${value < 99.95 ? value.toFixed(1) : count(value)}/${unit}`;
  }
  return "\u2013";
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== null) made.setAttribute(key, value);
  }
  made.append(...children);
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

const put = (id, ...children) => document.getElementById(id).append(...children);
const plural = (number, one, many) => `${count(number)} ${number === 1 ? one : many}`;

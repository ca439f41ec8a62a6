// SPDX-License-Identifier: Apache-2.0
// Equity with its drawdown below, findings above, as SVG. Points: [{time, value}], oldest first.
import {NONE, amount, element, minute, percent, words} from '/format.js';

const SPACE = 'http://www.w3.org/2000/svg';
const EDGE = {left: 2, right: 76, top: 24, bottom: 22};

function shape(name, attributes, text) {
  const made = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function path(points) {
  return points.map(([x, y], i) => (i ? 'L' : 'M') + x.toFixed(1) + ' ' + y.toFixed(1)).join('');
}

// About `count` round numbers inside [low, high].
function ticks(low, high, count) {
  const raw = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map((one) => one * power).find((one) => one >= raw);
  const out = [];
  for (let at = Math.ceil(low / step) * step; at <= high + step * 1e-9; at += step) out.push(at);
  return out;
}

function timeTicks(from, to) {
  const steps = [60, 300, 900, 3600, 4 * 3600, 12 * 3600, 86400, 7 * 86400].map((s) => s * 1000);
  const step = steps.find((one) => (to - from) / one <= 8) || 30 * 86400000;
  const out = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) out.push([at, step]);
  return out;
}

function timeLabel(at, step) {
  const text = new Date(at).toISOString();
  return step >= 86400000 ? text.slice(5, 10) : text.slice(11, 16);
}

// A share from 0 to 1 as a bar of 60 px.
export function bar(share) {
  const svg = shape('svg', {width: 60, height: 8, viewBox: '0 0 60 8', class: 'bar', 'aria-hidden': 'true'});
  svg.append(shape('rect', {x: 0, y: 2, width: 60, height: 4, rx: 2, class: 'track'}),
    shape('rect', {x: 0, y: 2, width: Math.max(1, 60 * share), height: 4, rx: 2, class: 'fill'}));
  return svg;
}

// Findings as bars in one lane each; at most three lanes.
function drawFindings(svg, findings, x, from, to, bottom) {
  const ends = [];
  for (const finding of findings) {
    const begin = Math.max(Date.parse(finding.onset || finding.detected), from);
    const end = Math.min(finding.closed ? Date.parse(finding.closed) : to, to);
    if (!(begin <= to && end >= from)) continue;
    let lane = ends.findIndex((one) => one < begin);
    if (lane < 0) lane = ends.length;
    if (lane > 2) continue;
    ends[lane] = end;
    const isOpen = finding.state === 'open';
    const bar = shape('rect', {x: x(begin), y: 4 + lane * 6, width: Math.max(3, x(end) - x(begin)), height: 3, rx: 1.5,
      class: 'finding ' + (isOpen ? finding.severity || 'warning' : 'closed')});
    bar.append(shape('title', {}, `${words(finding.kind)}: ${finding.target}\n${minute(finding.onset || finding.detected)} to ${finding.closed ? minute(finding.closed) : 'now'} UTC`));
    svg.append(bar);
    if (isOpen) svg.append(shape('rect', {x: x(begin), y: EDGE.top, width: Math.max(1, x(end) - x(begin)), height: bottom - EDGE.top, class: 'band ' + (finding.severity || 'warning')}));
  }
}

// `start`: the value before the first point. Returns a focusable figure with a sentence for those
// who do not see it.
export function equityChart(points, start, findings, width, height) {
  const box = element('figure', null, 'chart');
  box.tabIndex = 0;
  if (points.length < 2) {
    box.append(element('p', points.length ? 'One closed trade so far.' : 'No closed trade yet.', 'none'));
    return box;
  }
  const from = points[0].time;
  const to = points[points.length - 1].time;
  const values = points.map((one) => one.value);
  const low = Math.min(start, ...values);
  const high = Math.max(start, ...values);
  let peak = start;
  const falls = values.map((value) => { peak = Math.max(peak, value); return value - peak; });
  const deepest = Math.min(0, ...falls);

  const plot = {right: width - EDGE.right, bottom: height - EDGE.bottom};
  const split = plot.bottom - Math.round((plot.bottom - EDGE.top) * 0.26);
  const x = (at) => EDGE.left + (to === from ? 0 : (at - from) / (to - from) * (plot.right - EDGE.left));
  const y = (value) => split - 10 - (high === low ? 0.5 : (value - low) / (high - low)) * (split - 10 - EDGE.top - 6);
  const z = (fall) => split + 6 + (deepest === 0 ? 0 : fall / deepest) * (plot.bottom - split - 10);

  const svg = shape('svg', {width, height, viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-hidden': 'true'});
  for (const value of ticks(low, high, 4)) {
    svg.append(shape('line', {x1: EDGE.left, x2: plot.right, y1: y(value), y2: y(value), class: 'grid'}),
      shape('text', {x: plot.right + 8, y: y(value) + 4}, amount(value).replace(/\.00$/, '')));
  }
  for (const [at, step] of timeTicks(from, to)) {
    svg.append(shape('text', {x: x(at), y: height - 6, 'text-anchor': 'middle'}, timeLabel(at, step)));
  }
  drawFindings(svg, findings, x, from, to, plot.bottom);
  const line = points.map((one) => [x(one.time), y(one.value)]);
  svg.append(shape('path', {d: `${path(line)}L${x(to)} ${split - 4}L${x(from)} ${split - 4}Z`, class: 'area'}),
    shape('path', {d: path(line), class: 'line'}));
  const under = points.map((one, i) => [x(one.time), z(falls[i])]);
  svg.append(shape('line', {x1: EDGE.left, x2: plot.right, y1: split + 6, y2: split + 6, class: 'grid'}),
    shape('path', {d: `${path(under)}L${x(to)} ${split + 6}L${x(from)} ${split + 6}Z`, class: 'fall'}),
    shape('text', {x: plot.right + 8, y: z(deepest) + 2}, amount(deepest).replace(/\.00$/, '')));
  const last = values[values.length - 1];
  svg.append(shape('circle', {cx: x(to), cy: y(last), r: 3, class: 'dot'}));
  box.append(svg);

  const share = start > 0 ? ` (${percent(deepest / Math.max(...values, start))} of the highest)` : '';
  const caption = element('figcaption', `From ${minute(new Date(from).toISOString())} to ${minute(new Date(to).toISOString())} UTC: ` +
    `last ${amount(last)}, lowest ${amount(low)}, highest ${amount(high)}, deepest fall ${deepest < 0 ? amount(deepest) + share : NONE}.`, 'quiet');
  box.append(caption);
  return box;
}
